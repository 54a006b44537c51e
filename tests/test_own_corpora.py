"""Names that are true, corpora of one's own, counts as people write them, one meaning for each key."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import ostraca
from ostraca import cli
from ostraca.pipeline.spec.check import check_spec
from ostraca.pipeline.spec.given import corpus_spec, dataset_name
from ostraca.pipeline.spec.presets import aliases, cited, likeness
from ostraca.tasks import TASKS, get_task
from ostraca.tasks.core.counts import whole
from ostraca.tasks.errors import ConfigError

ROOT = Path(ostraca.__file__).resolve().parent.parent
PRESETS = sorted(path.stem for path in (ROOT / "conf/dataset").glob("*.yaml"))


def spec_of(*words: str) -> dict[str, Any]:
    """The complete spec that `ostraca build` makes of these words."""
    config = {**cli.compose("build", ["out=x", *words]), "overrides": list(words)}
    return check_spec(corpus_spec(config))


def sizes(spec: dict[str, Any]) -> dict[str, int]:
    return {name: entry["splits"]["train"]["examples"] for name, entry in spec["datasets"].items()}


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_keeps_its_name_and_is_what_its_card_says(preset: str) -> None:
    spec = spec_of(f"dataset={preset}", "examples=10")
    full = aliases().get(preset, preset)
    assert spec["name"] == full
    assert list(spec["datasets"]) == [full]
    if full != "depo-demo":
        assert spec_of(f"corpus={preset}", "examples=10")["name"] == full
    for seed in (0, 7):  # Capo's population follows the seed
        entry = spec_of(f"dataset={preset}", "examples=10", f"seed={seed}")["datasets"][full]
        found = likeness(entry["task"], entry["splits"]["train"]["config"], seed)
        assert (found.preset, found.differences) == (full, {})


@pytest.mark.parametrize(
    ("words", "like"),
    [
        (["dataset=depo1", "dataset.N=20"], "depo1-225"),
        (["dataset=depo1", "dataset.config.N=20"], "depo1-225"),
        (["dataset=depo", "dataset.N=20"], "depo1-225"),
        (["dataset=mano", "dataset.L=2"], "mano-10"),
        (["dataset=capo", "dataset.exposures=3"], "capo-50k"),
        (["corpus=depo1", "corpus.datasets.depo1-225.config.N=20"], "depo1-225"),
        (["corpus=depo1", "+corpus.datasets.depo1-225.splits.train.config.N=20"], "depo1-225"),
    ],
)
def test_what_is_no_preset_never_has_the_name_of_one(words: list[str], like: str) -> None:
    spec = spec_of(*words, "examples=10")
    (name,) = spec["datasets"]
    assert name == spec["name"]
    assert name.startswith(f"{like}-x")
    assert cited(name) is None
    assert spec_of(*words, "examples=20", "seed=3")["name"] == name, "the name is the config's alone"


def test_a_grammar_of_ones_own_is_not_cfg3f(tmp_path: Path) -> None:
    file = tmp_path / "mine.txt"
    assert cli.main(["random-grammar", f"out={file}", "depth=3"]) == 0
    spec = spec_of("dataset=lano", f"dataset.config_path={file}", "examples=5")
    assert spec["name"].startswith("lano-cfg3f-x")


def test_another_presets_config_has_that_presets_name() -> None:
    assert spec_of("dataset=lano", "dataset.config_name=cfg3j", "examples=5")["name"] == "lano-cfg3j"
    assert spec_of("dataset=mano-10", "dataset.L=13", "examples=5")["name"] == "mano-13"


@pytest.mark.parametrize("command", ["inspect", "audit", "curve", "train-minimal"])
def test_every_command_calls_it_the_same(command: str) -> None:
    words = ["dataset=depo1", "dataset.N=20"]
    config = {**cli.compose(command, words), "overrides": words}
    assert dataset_name(config) == spec_of(*words)["name"]


@pytest.mark.parametrize("name", ["depo1-300", "depo1", "depo1-225", "mano-10"])
def test_the_name_of_a_preset_with_another_config_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=f"{name} is the name of a published preset"):
        spec_of("dataset=depo1", "dataset.N=20", f"dataset.name={name}")
    assert spec_of("dataset=depo1", "dataset.N=20", "dataset.name=mine")["name"] == "mine"


def test_a_file_that_calls_something_else_by_a_presets_name_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("datasets:\n  depo1-225:\n    task: depo\n    config: {N: 20}\n")
    with pytest.raises(ConfigError, match="depo1-225 is the name of a published preset"):
        spec_of(f"corpus={file}")


def test_a_mixture_that_is_changed_has_a_name_of_its_own() -> None:
    assert spec_of("corpus=five-tasks")["name"] == "five-tasks"
    assert spec_of("corpus=five-tasks", "tokens=1M")["name"] == "five-tasks", "size is no config"
    changed = spec_of("corpus=five-tasks", "corpus.datasets.mano.config.L=3")["name"]
    assert changed.startswith("five-tasks-x")


def test_the_card_says_which_preset_it_is(tmp_path: Path) -> None:
    for words, said in (
        (["dataset=mano"], "the preset `mano-10`, exactly."),
        (["dataset=mano", "dataset.L=3"], "no preset; as `mano-10`, except L=3."),
    ):
        out = tmp_path / str(len(words))
        assert cli.main(["build", *words, "examples=50", f"out={out}", "engine=local"]) == 0
        assert said in (out / "README.md").read_text()
        assert json.loads((out / "manifest.json").read_text())["name"] in (out / "README.md").read_text()


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("5_000_000", 5_000_000),
        ("5M", 5_000_000),
        ("2.5M", 2_500_000),
        ("1e9", 10**9),
        (1e9, 10**9),
        ("1.5e3", 1500),
        ("2^30", 1 << 30),
        ("2**10", 1024),
        ("3k", 3000),
        ("3K", 3000),
        ("4B", 4 * 10**9),
        ("4G", 4 * 10**9),
        ("1T", 10**12),
        ("9007199254740993", 9007199254740993),  # no float on the way
        ("0.1M", 100_000),
    ],
)
def test_counts(written: Any, meant: int) -> None:
    assert whole(written) == meant
    assert type(whole(written)) is int


@pytest.mark.parametrize(
    "written", ["1.5", "M", "-5", "1e-3", "5MB", "1e999", "", "2^", "0x10", "9" * 50, None, True, 1.5]
)
def test_what_is_no_count_stays_for_a_check_to_refuse(written: Any) -> None:
    assert whole(written) is written


def test_counts_are_taken_wherever_there_are_any(tmp_path: Path) -> None:
    assert sizes(spec_of("dataset=mano", "examples=2^12")) == {"mano-10": 4096}
    assert sizes(spec_of("dataset=mano", "splits.train.examples=3k")) == {"mano-10": 3000}
    spec = spec_of("dataset=capo", "dataset.num_people=2k", "dataset.exposures=1e1", "seed=1e3")
    assert (*sizes(spec).values(), spec["seed"]) == (20_000, 1000)
    assert cli.compose("curve", ["train.max_steps=6k"])["train"]["max_steps"] == 6000
    assert cli.compose("inspect", ["index=1M"])["index"] == 1_000_000
    assert cli.compose("build", ["out=5M", "dataset=mano"])["out"] == "5M", "a path is none"
    assert cli.compose("curve", ["train.learning_rate=1e-3"])["train"]["learning_rate"] == 1e-3


def test_tokens_and_examples_are_of_the_whole_corpus_in_its_proportions() -> None:
    before = sizes(spec_of("corpus=five-tasks"))
    after = sizes(spec_of("corpus=five-tasks", f"examples={sum(before.values()) // 4}"))
    assert sum(after.values()) == pytest.approx(sum(before.values()) / 4, abs=5)
    for name in before:
        assert after[name] == pytest.approx(before[name] / 4, abs=1)
    spec = spec_of("corpus=five-tasks", "tokens=2M")
    found = {
        name: entry["splits"]["train"]["examples"]
        * get_task(entry["task"]).mean_tokens(entry["splits"]["train"]["config"])
        for name, entry in spec["datasets"].items()
    }
    assert sum(found.values()) == pytest.approx(2_000_000, rel=0.002)
    with pytest.raises(ConfigError, match="give only one"):
        spec_of("corpus=five-tasks", "tokens=2M", "examples=5")


def test_a_mixture_of_presets() -> None:
    spec = spec_of("datasets=[depo1,mano-13,brevo2]", "tokens=300k")
    assert spec["vocabulary"] == "shared"
    assert set(spec["datasets"]) == {"depo1", "mano-13", "brevo2"}
    assert all(set(entry["splits"]) == {"train", "test"} for entry in spec["datasets"].values())
    for words in ("datasets=[]", "datasets=depo1", "datasets=[depo1,depo1]", "datasets=[depo9]"):
        with pytest.raises(ConfigError, match="datasets="):
            spec_of(words)


def test_a_split_is_left_out() -> None:
    for words in (["dataset=mano"], ["corpus=five-tasks"], ["datasets=[mano,depo]"]):
        spec = spec_of(*words, "splits.test=null")
        assert all(list(entry["splits"]) == ["train"] for entry in spec["datasets"].values())
    with pytest.raises(ConfigError, match="no split left"):
        spec_of("dataset=mano", "splits.test=null", "splits.train=null")


def test_the_example_in_examples_builds(tmp_path: Path) -> None:
    out = tmp_path / "c"
    words = ["build", f"corpus={ROOT}/examples/corpus.yaml", f"out={out}", "engine=local", "report=false"]
    assert cli.main([*words, "tokens=50k"]) == 0
    spec = json.loads((out / "manifest.json").read_text())["spec"]
    assert spec["name"] == "reasoning-small"
    assert set(spec["datasets"]) == {"mano-10", "hops", "sums"}
    assert spec["datasets"]["hops"]["splits"]["hard"]["config"]["fixed_k"] == 4
    assert spec["pack"]["length"] == 1024


def test_a_folder_of_files_of_ones_own(tmp_path: Path) -> None:
    for name in ("corpus", "dataset"):
        (tmp_path / name).mkdir()
    (tmp_path / "dataset/sums.yaml").write_text("name: sums\ntask: mano\nconfig: {L: 3}\n")
    (tmp_path / "corpus/mine.yaml").write_text(
        "name: mine\ndefaults:\n  - /dataset@datasets.sums: sums\n  - _self_\n"
    )
    folder = f"config_dir={tmp_path}"
    assert spec_of(folder, "dataset=sums")["name"] == "sums"
    assert spec_of(folder, "corpus=mine")["datasets"].keys() == {"sums"}
    assert spec_of(folder, "dataset=mano")["name"] == "mano-10"
    assert spec_of(f"dataset={tmp_path}/dataset/sums.yaml")["name"] == "sums"
    assert spec_of("datasets=[sums,depo1]", folder)["datasets"].keys() == {"sums", "depo1"}


def test_a_call_without_files_of_ones_own_needs_no_temporary_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a system that can only be read."""

    def refused(*_: Any, **__: Any) -> str:
        raise FileNotFoundError("no usable temporary directory")

    monkeypatch.setattr("tempfile.mkdtemp", refused)
    assert spec_of("dataset=mano", "examples=5")["name"] == "mano-10"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["inspect", "corpus=depo1"], "inspect takes no corpus="),
        (["curve", "corpus=depo1"], "curve takes no corpus="),
        (["plot", "dataset=depo1"], "plot takes no dataset="),
        (["verify", "splits.train.examples=5", "path=x"], "verify takes no splits="),
        (["merge", "model=llama", "out=x"], "merge takes no model="),
        (["build", "dataset=mano", "seed=1", "seed=2", "out=x"], "seed is given twice"),
        (["build", "dataset=mano", "dataset=depo", "out=x"], "dataset is given twice"),
        (
            ["build", "dataset=mano", "dataset.L=1", "dataset.config.L=2", "out=x"],
            "dataset.config.L is given twice",
        ),
        (["build", "corpus=mine.yaml", "out=x"], "no such file"),
        (["build", "corpus=depo1", "corpus.name=[1]", "out=x"], "name=[1] must be"),
        (["build", "corpus=five-tasks", "corpus.datasets.mano.config.L=.inf", "out=x"], "L="),
        (["build", "corpus=five-tasks", "corpus.datasets.mano.config=5", "out=x"], "config=5"),
        (["build", "corpus=five-tasks", "corpus.datasets.mano=5", "out=x"], "mano=5"),
        (["build", "dataset=depo1", "dataset.N=.nan", "out=x"], "N="),
        (["build", "corpus=odd.yaml", "out=x"], "build: "),
        (["build", "corpus=list.yaml", "out=x"], "build: "),
        (["build", "corpus=latin.yaml", "out=x"], "not a text in UTF-8"),
        (["build", "corpus=unknown.yaml", "out=x"], "build: "),
        (["build", "config_dir=nowhere", "dataset=mano", "out=x"], "no such folder"),
    ],
)
def test_a_wrong_call_gets_one_line(
    words: list[str],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "odd.yaml").write_text("a: [1\nb: {")
    (tmp_path / "list.yaml").write_text("- 1\n- 2\n")
    (tmp_path / "latin.yaml").write_bytes(b"name: \xe9\n")
    (tmp_path / "unknown.yaml").write_text("name: x\ndefaults:\n  - /dataset@datasets.y: nothing\n")
    monkeypatch.chdir(tmp_path)
    assert cli.main(words) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1, err
    assert said in err


def test_bare_names_of_tasks_cite_nothing() -> None:
    assert all(cited(task) is None for task in TASKS)
