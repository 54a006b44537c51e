"""The command line: lists, help, overrides; bad input gets one clear line and a status other than 0."""

from __future__ import annotations

import importlib.metadata
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import ostraca
from ostraca import cli

ROOT = Path(ostraca.__file__).resolve().parent.parent


def test_no_arguments_lists_the_commands(run_ostraca: Any) -> None:
    done = run_ostraca()
    assert done.returncode == 0
    for command in cli.COMMANDS:
        assert f"  {command}" in done.stdout


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_help_shows_every_key_with_its_default(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([command, "--help"]) == 0
    shown = capsys.readouterr().out
    config = cli.compose(command, [], resolve=False)
    assert all(f"{key}:" in shown or f"{key}=" in shown for key in config)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["biuld"], ["unknown command 'biuld'", "did you mean 'build'"]),
        (["build", "out=x"], ["corpus=NAME or dataset=NAME"]),
        (["build", "corpus=depo1", "dataset=depo1", "out=x"], ["corpus=NAME or dataset=NAME"]),
        (["build", "corpus=depo1"], ["out=... is missing"]),
        (["build", "corpus=depo3", "out=x"], ["no such corpus", "did you mean 'depo", "depo2-125"]),
        (["build", "dataset=deppo1", "out=x"], ["no such dataset", "did you mean 'depo1'"]),
        (["build", "dataset=depo1", "out=x", "worker=2"], ["unknown key 'worker'", "'workers'"]),
        (["build", "dataset=depo1", "out=x", "dataset.mini_vocap=2"], ["dataset.config.mini_vocab"]),
        (["build", "dataset=depo1", "out=x", "dataset.N=2"], ["N=2", "from 3"]),
        (["build", "dataset=depo1", "out=x", "dataset.K=0"], ["K=0", "from 1"]),
        (["build", "dataset=depo1", "out=x", "dataset.N=many"], ["N='many'", "integer"]),
        (["build", "dataset=depo1", "out=x", "dataset.N=2551"], ["2551", "2550", "raise mini_vocab"]),
        (["build", "dataset=depo1", "out=x", "dataset.K=500"], ["collide", "9500"]),
        (["build", "dataset=depo1", "out=x", "dataset.bos_token_id=7"], ["bos_token_id", "collide"]),
        (["build", "dataset=depo1", "out=x", "seed=-1"], ["seed=-1"]),
        (["build", "dataset=depo1", "out=x", "examples=0"], ["examples=0"]),
        (["build", "dataset=depo1", "out=x", "engine=spark"], ["engine='spark'", "ray, local"]),
        (["build", "dataset=depo1", "out=x", "workers=0", "engine=local"], ["workers=0"]),
        (["build", "dataset=depo1", "out=x", "dataset.k=3"], ["did you mean 'dataset.config.K'"]),
        (["build", "dataset=depo1", "out=x", "+new=1"], ["'+new=1'"]),
        (["build", "dataset=depo1", "out=x", "hydra.run.dir=y"], ["'hydra.run.dir=y'"]),
        (["build", "dataset=depo1", "out=null"], ["out=None"]),
        (["build", "dataset=depo1", "out=''"], ["out=''"]),
        (["build", "dataset=depo1", "out=a=b"], ["in quotes"]),
        (["build", "corpus=[depo1,depo2]", "out=x"], ["no such corpus"]),
        (["build", "corpus=depo1", "out=x", "corpus.datasets=5"], ["has no datasets"]),
        (["build", "corpus=depo1", "out=x", "splits.train=5"], ["train=5"]),
        (["build", "dataset=depo1", "out=x", "dataset.config=null"], ["config=None"]),
        (["build", "dataset=depo1", "out=x", "ray=null"], ["ray=None"]),
        (["build", "dataset=depo1", "out=x", "ray.address=5"], ["ray.address=5"]),
        (["verify", "path=x", "content=maybe"], ["content='maybe'"]),
        (["inspect", "dataset=null"], ["dataset=null"]),
        (["curve", "seed=abc"], ["seed='abc'"]),
        (["curve", "train.betas=[0.9,1.0]"], ["train.betas"]),
        (["curve", "corpus_path=x", "dataset=depo1"], ["decides the dataset"]),
        (["train-minimal", "print_every=0"], ["print_every=0"]),
        (["plot", "runs=5"], ["runs must be folders"]),
        (["plot", "runs=[a,b]", "labels=ab"], ["labels='ab'"]),
        (["build", "--fast"], ["'--fast' is not key=value"]),
        (["build", "depo1"], ["'depo1' is not key=value"]),
        (["verify", "path=/no/such/folder"], ["/no/such/folder: no such folder"]),
        (["reproduce", "path=/no/such/folder"], ["/no/such/folder: no such folder"]),
        (["inspect", "show=0"], ["show=0"]),
        (["inspect", "dataset.fixed_k=9"], ["fixed_k=9", "K=8"]),
        (["inspect", "color=blue"], ["color='blue'", "auto, always, never"]),
        (["inspect", "tokenizer_name_or_path=/no/tokenizer"], ["cannot be loaded", "tokenizer.json"]),
    ],
)
def test_bad_input(
    words: list[str],
    said: list[str],
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if words[0] in ("curve", "train-minimal"):
        pytest.importorskip("torch")
    monkeypatch.chdir(tmp_path)
    assert cli.main(words) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("ostraca: ")
    assert err.count("\n") == 1
    for word in said:
        assert word in err
    assert list(tmp_path.iterdir()) == [], "nothing may be left behind"


def test_debug_gives_the_traceback(run_ostraca: Any) -> None:
    plain = run_ostraca("verify", "path=/no/such")
    debug = run_ostraca("verify", "path=/no/such", "--debug")
    assert "Traceback" not in plain.stderr
    assert "Traceback" in debug.stderr
    assert plain.returncode != 0
    assert debug.returncode != 0


def test_both_spellings_of_a_task_key() -> None:
    for word in ("dataset.K=5", "dataset.config.K=5"):
        assert cli.compose("inspect", [word])["dataset"]["config"]["K"] == 5


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["dataset=brevo"], ["depth ", "answer 10 nodes", "\n<query> v", "\n[<ans|eos>] [v"]),
        (["dataset=brevo2"], ["\n<query> ", "\n[<ans|eos>] ["]),
        (["dataset=mano"], [" (mod 23)\nvalid", "loss on all", "<len_3>", "length 3, answer 11"]),
        (["dataset=lano", "tree=true"], ["length 242", "\n22───", "1 2 3 3 1"]),
        (
            ["dataset=capo"],
            ["person ", "exposure ", "_ tossed a graduation cap into the air at _", "<|endoftext|>"],
        ),
        (["dataset=capo", "dataset.bio=text"], ["373 characters", "_Kevin Alexis Barry_"]),
    ],
)
def test_inspect_shows_each_task_in_its_own_way(run_here: Any, words: list[str], parts: list[str]) -> None:
    done = run_here("inspect", "show=1", *words)
    assert done.returncode == 0, done.stderr
    for part in [*parts, "\nvalid\n"]:
        assert part in done.stdout, part
    assert max(map(len, done.stdout.splitlines())) <= 80


def test_inspect_names_tokens_and_gives_the_verdict(run_here: Any) -> None:
    done = run_here("inspect", "dataset=depo", "show=2", "max_tokens=-1", "dataset.N=30")
    assert done.returncode == 0
    assert done.stdout.count("\nvalid\n") == 2
    for name in ("<bos>", "<query_", "[<ans>]"):
        assert name in done.stdout
    qa = run_here("inspect", "show=1", "dataset.config.qa=true", "dataset.config.fixed_k=8")
    assert "n 225" in qa.stdout
    assert "hops 8 8 8 8 8 8 8 8 8 8" in qa.stdout.replace("\n", " ")
    coloured = run_here("inspect", "show=1", "dataset.N=4", "color=always")
    assert "\x1b[32m<ans>\x1b[0m" in coloured.stdout
    assert "\x1b[2m<bos>\x1b[0m" in coloured.stdout


def test_inspect_with_a_tokenizer(run_here: Any, tmp_path: Path) -> None:
    from tokenizers import Tokenizer, models

    pytest.importorskip("transformers")
    from transformers import PreTrainedTokenizerFast

    vocabulary = {f"w{number}": number for number in range(9600)}
    fast = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.WordLevel(vocabulary, unk_token="w0")))
    fast.save_pretrained(tmp_path)
    done = run_here("inspect", "show=1", "dataset.N=4", f"tokenizer_name_or_path={tmp_path}")
    assert done.returncode == 0, done.stderr
    assert "[w9500]" in done.stdout


def test_inspect_shows_rows_of_a_corpus(run_here: Any, corpus: Path) -> None:
    done = run_here("inspect", f"path={corpus}", "index=1999", "show=1", "max_tokens=-1")
    assert done.returncode == 0
    assert "example 1999" in " ".join(done.stdout.split())  # the folder's name may be long
    assert "\nvalid\n" in done.stdout
    beyond = run_here("inspect", f"path={corpus}", "index=2000")
    assert beyond.returncode != 0
    assert "has 2,000 examples" in beyond.stderr


def test_inspect_tells_that_a_row_is_wrong(run_here: Any, corpus_copy: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = corpus_copy / "small/test-00000-of-00001.parquet"
    table = pq.read_table(path)
    rows = table.to_pylist()
    start = rows[0]["answer_starts"][0]
    rows[0]["input_ids"][start] = rows[0]["input_ids"][start] % 50 + 1
    size = pq.read_metadata(path).row_group(0).num_rows
    before = path.stat().st_size
    pq.write_table(
        pa.Table.from_pylist(rows, schema=table.schema), path, row_group_size=size, use_dictionary=False
    )
    manifest = json.loads((corpus_copy / "manifest.json").read_text())
    entry = manifest["splits"]["test"]
    for counts in (entry["shards"][0], entry, manifest["totals"]):
        counts["bytes"] += path.stat().st_size - before
    (corpus_copy / "manifest.json").write_text(json.dumps(manifest))
    done = run_here("inspect", f"path={corpus_copy}", "split=test", "show=1")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1, "the row group's digest is another: it is not even looked at"
    assert "digest differs" in done.stderr


def test_every_command_of_the_house_starts_light() -> None:
    """`ostraca` alone in under half a second, `import ostraca.tasks` in under 1.5 (the best of five)."""

    def best(*command: str) -> float:
        times = []
        for _ in range(5):
            begun = time.perf_counter()
            subprocess.run([sys.executable, *command], check=True, capture_output=True, cwd=ROOT)
            times.append(time.perf_counter() - begun)
        return min(times)

    assert best("ostraca") < 0.5
    assert best("-c", "import ostraca.tasks") < 1.5


@pytest.mark.parametrize(
    "words",
    [
        ["build", "corpus=mano", "out=OUT", "+corpus.seed=7"],
        ["build", "dataset=mano", "out=OUT", "splits.test.form=[1]"],
        ["build", "dataset=mano", "out=OUT", "splits.test.form=exam"],
        ["build", "dataset=mano", "out=OUT", "dataset.name=[1]"],
        ["build", "dataset=mano", "out=OUT", "dataset.task=null"],
        ["build", "dataset=mano", "out=OUT", "examples=5", "tokens=5"],
        ["build", "dataset=capo", "out=OUT", "examples=5000001"],
        ["build", "dataset=mano", "out=OUT", "vocabulary=dense"],
        ["build", "corpus=five-tasks", "out=OUT", "+corpus.datasets.Mano.task=mano"],
        ["inspect", "color=[1]"],
        ["inspect", "path=CORPUS", "name=[1]"],
        ["inspect", "path=CORPUS", "split=[1]"],
        ["inspect", "path=CORPUS", "dataset=mano"],
        ["inspect", "path=CORPUS", "index=5000"],
        ["inspect", "dataset=lano", "tree=yes please"],
        ["inspect", "dataset=lano", "dataset.config_name=cfg3z"],
        ["inspect", "dataset=lano", "dataset.config_path=/nowhere/grammar.txt"],
        ["inspect", "dataset=mano", "dataset.ttype=''"],
        ["inspect", "dataset=mano", "dataset.ttype=asmd", "dataset.value_mod=22"],
        ["inspect", "dataset=brevo2", "dataset.N=1000"],
        ["inspect", "dataset=capo", "dataset.num_people=160000001"],
        ["inspect", "dataset=capo", "dataset.fields_dir=/nowhere"],
        ["inspect", "dataset=capo", "dataset.tokenizer_name_or_path=/nowhere"],
        ["inspect", "dataset=capo", "dataset.tokenizer_name_or_path=nobody/nothing"],
        ["random-grammar", "out=CORPUS/manifest.json"],
        ["random-grammar", "out=OUT", "depth=0"],
        ["random-grammar", "out=OUT", "symbols=[4,2]"],
        ["train-tokenizer", "out=CORPUS"],
        ["train-tokenizer", "out=OUT", "vocab_size=3"],
        ["curve", "corpus_path=CORPUS", "corpus_dataset=[1]"],
    ],
)
def test_odd_values_get_one_line(run_here: Any, corpus: Path, tmp_path: Path, words: list[str]) -> None:
    """And nothing is written."""
    if words[0] == "curve":
        pytest.importorskip("torch")
    if any("tokenizer_name" in word for word in words):
        pytest.importorskip("transformers")
    out = tmp_path / "out"
    done = run_here(*(word.replace("OUT", str(out)).replace("CORPUS", str(corpus)) for word in words))
    assert done.returncode == 2, done.stdout
    assert done.stderr.startswith("ostraca: ")
    assert done.stderr.count("\n") == 1, done.stderr
    assert not out.exists()


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["inspect", "dataset=lano"], "eos: false  # end with <eos>"),
        (["inspect", "dataset=mano"], "qa: false  # test form: L operators"),
        (["build", "corpus=five-tasks"], "eos: true  # end each paragraph with the end-of-text token"),
        (["inspect"], "brevo1-110"),
        (["build"], "mode: null  # left_aligned | whole"),
        (["build"], "mode: null  # disjoint (no example"),
        (["build"], "memory: null  # bytes of memory per shard job"),
        (["plan"], "memory: 1GiB  # for the search for duplicates, on all nodes together"),
        (["train-tokenizer"], "vocab_size: "),
        (["random-grammar"], "depth: 6  # levels of rules"),
    ],
)
def test_help_speaks_of_the_task_that_is_chosen(run_here: Any, words: list[str], line: str) -> None:
    done = run_here(*words, "--help")
    assert done.returncode == 0
    assert line in done.stdout


def test_the_version_of_what_is_not_installed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As where the repository is on PYTHONPATH alone."""

    def version(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", version)
    assert cli.main(["--version"]) == 0
    assert "not installed, run from" in capsys.readouterr().out
