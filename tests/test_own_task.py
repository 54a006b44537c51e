"""A sixth task without a fork: `examples/parity` through the whole house, and every wrong way to name it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from conftest import files_of

from ostraca import CorpusSource, TaskSource, TokenStream
from ostraca.pipeline.build.build import build
from ostraca.tasks import TASKS, get_task, register_modules
from ostraca.tasks.base import vocab_size
from ostraca.tasks.core.batch import rows_of
from ostraca.tasks.errors import ConfigError, OstracaError
from ostraca.tasks.examples import generate_batches, generate_example, stream_of, validate_example
from ostraca.tasks.registry import GROUP, HOUSE, VARIABLE
from ostraca.tasks.vocabulary import shared_ids

ROOT = Path(__file__).resolve().parent.parent
PARITY = ROOT / "examples" / "parity"
SMALL = ("examples=600", "splits.test.examples=50", "shard_tokens=5000", "row_group_tokens=2000")
GIVEN = "task_modules=[parity]"
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing but ostraca's own tasks is known, before and afterwards."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(TASKS, "_found", None)
    monkeypatch.setattr(TASKS, "_records", {})
    monkeypatch.setenv(VARIABLE, "")
    yield
    for name in ("parity", *(Path(each).stem for each in MODULES)):
        sys.modules.pop(name, None)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the task's file is, and nothing that says so."""
    here = tmp_path_factory.mktemp("own")
    for name in ("parity.py", "parity.yaml"):
        shutil.copy(PARITY / name, here)
    return here


@pytest.fixture
def here(folder: Path, alone: None, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder has the task's file."""
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture(scope="module")
def built(folder: Path) -> Path:
    """A corpus that the command made in a process of its own, by threads."""
    words = ["build", "dataset=parity.yaml", GIVEN, "out=corpus", "engine=local", *SMALL]
    done = ostraca(*words, cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "parity-32/train" in done.stdout
    return folder / "corpus"


def ostraca(*words: str, cwd: Path, path: Path | None = None, **environment: str) -> Any:
    """`ostraca ...` in a process of its own; neither its current folder nor examples are on its path."""
    paths = [str(each) for each in (path, ROOT) if each is not None]
    return subprocess.run(
        [sys.executable, str(ROOT / "ostraca"), *words],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), **environment},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def install(site: Path, package: str, **points: str) -> Path:
    """What pip would write of a package with these entry points."""
    made = site / f"{package.replace('-', '_')}-1.0.dist-info"
    made.mkdir(parents=True)
    (made / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    lines = "".join(f"{name} = {value}\n" for name, value in points.items())
    (made / "entry_points.txt").write_text(f"[{GROUP}]\n{lines}")
    return site


def test_through_the_whole_house(built: Path, here: Path, run_here: Run, tmp_path: Path) -> None:
    for words in (
        ["verify", "path=corpus", "content=true", "duplicates=true"],
        ["reproduce", "path=corpus"],
        ["audit", "path=corpus"],
        ["inspect", "path=corpus", "show=1"],
        ["export", "path=corpus", "to=jsonl", f"out={tmp_path}/jsonl"],
        ["build", "manifest=corpus", f"out={tmp_path}/again", "engine=local", "report=false"],
        ["diff", "path=corpus", f"other={tmp_path}/again"],
        ["plan", "dataset=parity.yaml", f"out={tmp_path}", *SMALL],
    ):
        done = run_here(*words, "task_modules=parity")
        assert done.returncode == 0, (words, done.stdout, done.stderr)
    assert files_of(tmp_path / "again") == files_of(built)
    assert len(files_of(built)) > 2
    card = (built / "README.md").read_text()
    assert "Parity: count modulo two" in card
    assert "| `parity` | int32 | 1 where the number of ones is odd, else 0 |" in card
    assert "Physics" not in card, "the paper is not this task's"


def test_workers_of_ray_are_told(built: Path, here: Path, ray_session: Any, tmp_path: Path) -> None:
    """They were started from another folder, before the task was named."""
    register_modules(["parity"])
    spec = json.loads((built / "manifest.json").read_text())["spec"]
    build(spec, tmp_path / "corpus", engine="ray", workers=2)
    assert files_of(tmp_path / "corpus") == files_of(built)


def test_a_model_learns_it(here: Path, run_here: Run) -> None:
    pytest.importorskip("transformers")
    few = ("train.max_steps=2", "train.batch_size=2", "eval_examples=2")
    done = run_here("train-minimal", "dataset=parity.yaml", GIVEN, *few)
    assert done.returncode == 0, done.stderr
    assert "tokens in the loss right" in done.stdout
    done = run_here("curve", "dataset=parity.yaml", GIVEN)
    assert "holds parity; curves by hop need one dataset of depo among the data" in done.stderr


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of installed packages that has the example's."""
    project = tomllib.loads((PARITY / "pyproject.toml").read_text())["project"]
    made = tmp_path_factory.mktemp("site")
    shutil.copy(PARITY / "parity.py", made)
    return install(made, project["name"], **project["entry-points"][GROUP])


def test_an_installed_package_needs_no_word(built: Path, site: Path, tmp_path: Path) -> None:
    """Built by a Ray that the command starts, elsewhere than the module."""
    pytest.importorskip("ray")
    words = ["build", f"dataset={PARITY}/parity.yaml", "out=c", "engine=ray", "workers=1", *SMALL]
    done = ostraca(*words, cwd=tmp_path, path=site)
    assert done.returncode == 0, done.stderr
    assert files_of(tmp_path / "c") == files_of(built)
    assert ostraca("verify", "path=c", "content=true", cwd=tmp_path, path=site).returncode == 0


def test_a_loader_in_another_process(built: Path, here: Path) -> None:
    """One that this process starts, which named the module; the stream is this process's."""
    register_modules(["parity"])
    code = (
        "from ostraca import CorpusSource, TokenStream\n"
        "stream = TokenStream(CorpusSource('corpus'), batch_size=2, length=64)\n"
        "print(next(iter(stream))['input_ids'].tolist())\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, cwd=here)
    assert done.returncode == 0, done.stderr
    stream = TokenStream(CorpusSource(built), batch_size=2, length=64)
    assert done.stdout.strip() == str(next(iter(stream))["input_ids"].tolist())
    made = next(iter(TokenStream(TaskSource("parity"), batch_size=2, length=64)))
    assert set(np.unique(made["input_ids"])) <= {0, 1, 2, 3}


def test_it_keeps_the_contract(here: Path) -> None:
    register_modules(["parity"])
    task = get_task("parity")
    config = task.check({"max_bits": 12})
    assert config == {"min_bits": 8, "max_bits": 12, "longest": False}
    (batch,) = generate_batches(task, config, 3, "train", 0, 300)
    assert batch.schema.equals(task.schema(config))
    assert task.validate(batch, config).all_valid
    assert task.validate(batch.slice(7, 20).select(["input_ids"]), config).all_valid
    indices = np.array([250, 3, 3, 0], dtype=np.int64)
    again = task.generate(config, stream_of(task, config, 3, "train"), indices)
    assert again.equals(batch.take(pa.array(indices)))
    lengths = np.array([len(row) for row in batch["input_ids"].to_pylist()])
    assert lengths.max() == task.max_tokens(config) == 15
    assert task.mean_tokens(config) == pytest.approx(13, abs=0.2)
    assert vocab_size(task, config) == 4
    for name in ("input_ids", "loss_mask", "n", "parity"):
        rows = rows_of(batch.slice(0, 3))
        value = rows[1][name]
        rows[1][name] = [*value[:-1], 1 - value[-1]] if isinstance(value, list) else value + 1
        verdicts = task.validate(pa.RecordBatch.from_pylist(rows, schema=batch.schema), config)
        assert verdicts.codes.astype(bool).tolist() == [False, True, False], name
    whole = generate_example(task, config, 3, 0, "train")["input_ids"]
    garbage = [whole[:end] for end in range(len(whole))]
    garbage += [[-1] * 13, [2**31 - 1] * 13, [2, 1, 3, 1], [*whole, 0], [*whole[:4], 3, *whole[5:]]]
    for row in garbage:
        assert not validate_example(task, {"input_ids": row}, config)
    with pytest.raises(ConfigError, match="parity: min_bits=8 is over max_bits=4"):
        task.check({"max_bits": 4})
    with pytest.raises(ConfigError, match=r"parity: unknown key 'max_bit' \(did you mean 'max_bits'\?\)"):
        task.check({"max_bit": 4})


def test_shared_ids_do_not_depend_on_what_else_is_installed(here: Path) -> None:
    register_modules(["parity"])
    configs = {name: {"task": name, "splits": {"a": {"config": get_task(name).check({})}}} for name in TASKS}
    del configs["capo"]
    ids = shared_ids(configs)
    assert list(dict.fromkeys(task for task, _ in ids)) == ["depo", "brevo", "mano", "lano", "parity"]


def test_the_registry(here: Path) -> None:
    assert list(TASKS) == list(HOUSE)
    assert register_modules(["parity"]) == ("parity",)
    assert register_modules(["parity"]) == ("parity",), "again is harmless"
    assert list(TASKS) == [*HOUSE, "parity"]
    assert (TASKS["parity"], len(TASKS), "parity" in TASKS) == ("parity", 6, True)
    assert os.environ[VARIABLE] == "parity"
    assert get_task("parity") is get_task("parity")


def test_the_environment_names_it_too(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, " parity, ")
    assert get_task("parity").name == "parity"


AGAIN = "from dataclasses import replace\nfrom parity import TASK\nTASK = replace(TASK, name=%r)\n"
MODULES = {
    "nothing.py": "",
    "other.py": "TASK = {'name': 'parity'}\n",
    "broken.py": "import no_such_library\n",
    "wild.py": "raise RuntimeError('out of\\nluck')\n",
    "taken.py": AGAIN % "mano",
    "double.py": "from parity import TASK\n",
    "named.py": AGAIN % "A b",
}


@pytest.mark.parametrize(
    ("modules", "line"),
    [
        ("[no_such]", "task_modules: cannot import no_such: there is none on Python's path or in the"),
        (
            "[nothing]",
            r"nothing \(.*nothing.py\) must hold an .*Task called TASK, but it has none",
        ),
        ("[other]", r"other \(.*other.py\) must hold an .*Task called TASK, but that is of type dict"),
        ("['parity:TASKS']", r"parity \(.*parity.py\) must hold an .*Task called TASKS, but it has none"),
        ("[broken]", "cannot import broken: ModuleNotFoundError: No module named 'no_such_library'"),
        ("[wild]", "cannot import wild: RuntimeError: out of luck"),
        ("[taken]", "task_modules: taken calls its task mano, the name of one of ostraca's own"),
        ("[parity,double]", r"double calls its task parity, but so does parity \(task_modules\); leave one"),
        ("[named]", "cannot import named: ConfigError: task 'A b': a name is lowercase letters, digits"),
        ("['a b']", "task_modules: 'a b' is not the name of a module"),
        ("[5]", "task_modules: 5 is not the name of a module"),
        ("{a: b}", r"task_modules={'a': 'b'} must be a list of modules"),
    ],
)
def test_a_module_that_will_not_do_gets_one_line(
    modules: str, line: str, folder: Path, alone: None, run_here: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, text in MODULES.items():
        (folder / name).write_text(text)
    monkeypatch.chdir(folder)
    done = run_here("inspect", f"task_modules={modules}", "show=1")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1), done.stderr
    with pytest.raises(AssertionError, match=line):
        raise AssertionError(done.stderr)


def test_a_corpus_of_an_unknown_task_says_how_to_name_it(built: Path, here: Path, run_here: Run) -> None:
    for words in (["verify", "path=corpus"], ["reproduce", "path=corpus"], ["inspect", "path=corpus"]):
        done = run_here(*words)
        assert done.returncode != 0
        assert done.stderr.count("\n") == 1
        assert "unknown task 'parity'" in done.stderr
        assert "task_modules=[MODULE]" in done.stderr
        assert f"an entry point in {GROUP}" in done.stderr


def test_a_preset_keeps_its_name_for_itself(here: Path, run_here: Run) -> None:
    words = ("build", "dataset=parity.yaml", "dataset.name=depo1", "out=x", "engine=local", GIVEN)
    done = run_here(*words)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "depo1 is the name of a published preset" in done.stderr


def test_packages_that_will_not_do_get_one_line(
    alone: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(PARITY / "parity.py", tmp_path)
    install(tmp_path, "first", parity="parity", odd="parity", lost="no_such_module")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(OstracaError, match="package first offers parity as the task odd, but it"):
        get_task("odd")
    with pytest.raises(OstracaError, match="package first: cannot import no_such_module: there is none"):
        get_task("lost")
    assert get_task("parity").name == "parity"
    assert register_modules(["parity"]) == ("parity",), "the same module, named by hand too"
    install(tmp_path, "second", parity="parity:OTHER")
    monkeypatch.setattr(TASKS, "_found", None)
    monkeypatch.setattr(TASKS, "_records", {})
    monkeypatch.setenv(VARIABLE, "")
    with pytest.raises(OstracaError, match="task parity is offered by package first and by package second"):
        get_task("parity")
    assert get_task("mano").name == "mano"
    install(tmp_path, "third", mano="parity")
    monkeypatch.setattr(TASKS, "_found", None)
    assert get_task("mano").name == "mano", "nobody is asked for what is ostraca's own"
    with pytest.raises(OstracaError, match=r"package third offers a task mano \(parity\), the name of"):
        get_task("parity")
