"""`ostraca train`: on any data, with what is seen of it while it runs, and bad input in one line."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from small import train_words

from ostraca import cli
from ostraca.loaders import CorpusSource, TokenStream
from ostraca.pipeline.build.build import build
from ostraca.training import run as running
from ostraca.training.loop.ranks import ranks_of
from ostraca.training.record import STEPS
from ostraca.training.speed import known_peak

TASKS = {
    "depo": ["dataset=depo-demo"],
    "brevo": ["dataset=brevo", "dataset.N=6"],
    "mano": ["dataset=mano", "dataset.L=3"],
    "lano": ["dataset=lano-cfg3b"],
    "capo": ["dataset=capo", "dataset.num_people=20"],
}
SMALL = ["model=llama", "model.width=16", "model.heads=2", "model.layers=1"]
BRIEF = ["train.max_steps=3", "train.batch_size=2", "train.threads=1", "train.warmup_steps=1"]


def rows(out: Path) -> list[dict[str, str]]:
    with (out / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("task", TASKS)
def test_trains_on_every_task(task: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "run"
    words = [*TASKS[task], *SMALL, *BRIEF, "logging.every_steps=1", "train.context_length=128"]
    assert cli.main(["train", f"out={out}", *words]) == 0
    found = rows(out)
    assert tuple(found[0]) == STEPS
    assert [row["step"] for row in found] == ["1", "2", "3"]
    assert [int(row["tokens_seen"]) for row in found] == [256, 512, 768]
    vocabulary = int(capsys.readouterr().out.split(" parameters, ")[1].split(" ids")[0].replace(",", ""))
    first = torch.tensor(float(found[0]["train_loss"]))
    # The first weights know nothing: all ids are about as likely.
    torch.testing.assert_close(first, torch.tensor(float(vocabulary)).log(), rtol=0.15, atol=0.0)
    for row in found:
        assert float(row["tokens_per_second"]) > 0
        assert 0 <= float(row["data_wait"]) <= 1
        assert 0.05 < float(row["memory_gib"]) < 20
        assert row["mfu"] == ""  # nobody knows what this CPU could do


@pytest.fixture(scope="module")
def corpora(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """depo and mano apart, with ids of their own; five is both in one, with shared ids."""
    root = tmp_path_factory.mktemp("corpora")
    mano = {"task": "mano", "config": {"L": 2}, "splits": {"train": {"examples": 600}}}
    depo = {
        "task": "depo",
        "config": {"N": 4, "K": 2, "mini_vocab": 20},
        "splits": {"train": {"examples": 600}},
    }
    for name, datasets in (
        ("depo", {"depo": depo}),
        ("mano", {"mano": mano}),
        ("both", {"d": depo, "m": mano}),
    ):
        spec = {"vocabulary": "shared", "datasets": datasets, "row_group_tokens": 2000}
        build(spec, root / name, engine="local")
    return root


def identity(out: Path) -> Any:
    return json.loads((out / "run.json").read_text())["data"]


def test_trains_from_a_corpus_a_manifest_and_a_mixture(corpora: Path, tmp_path: Path) -> None:
    """Losses from the manifest alone are those of the shards: the examples are made again."""
    manifest = tmp_path / "manifest.json"
    manifest.write_bytes((corpora / "both" / "manifest.json").read_bytes())
    mixed = (
        f"mixture={{a: {{corpus_path: {corpora / 'depo'}, weight: 3}}, "
        f"b: {{corpus_path: {corpora / 'mano'}, weight: [[0, 0.5], [3, 2]], where: 'length > 1'}}}}"
    )
    calls = {
        "shards": [f"corpus_path={corpora / 'both'}"],
        "manifest": [f"corpus_path={manifest}"],
        "part": [f"corpus_path={corpora / 'both'}", "corpus_dataset=m"],
        "where": [f"corpus_path={corpora / 'both'}", "corpus_dataset=m", "corpus_where='length > 1'"],
        "mixture": [mixed],
    }
    losses = {}
    for name, words in calls.items():
        out = tmp_path / name
        assert cli.main(["train", f"out={out}", *words, *SMALL, *BRIEF, "logging.every_steps=1"]) == 0
        losses[name] = [row["train_loss"] for row in rows(out)]
    assert losses["shards"] == losses["manifest"]
    assert len({tuple(each) for each in losses.values()}) == 4
    assert identity(tmp_path / "mixture")["kind"] == "mixture"


def test_seeds_are_apart(tmp_path: Path) -> None:
    """Each of them changes what is its own, and only that."""
    losses = {}
    for words in (
        [],
        ["seed=3"],
        ["data_seed=3"],
        ["init_seed=3"],
        ["order_seed=3"],
        ["seed=3", "init_seed=0"],
    ):
        out = tmp_path / f"run{len(losses)}"
        assert cli.main(["train", *train_words(out, "logging.every_steps=1", *words)]) == 0
        losses[tuple(words)] = [row["train_loss"] for row in rows(out)]
        again = tmp_path / f"again{len(losses)}"
        assert cli.main(["train", *train_words(again, "logging.every_steps=1", *words)]) == 0
        assert [row["train_loss"] for row in rows(again)] == losses[tuple(words)]
    # Examples made as it goes come in the order in which they are made.
    assert losses[("order_seed=3",)] == losses[()]
    assert losses[("data_seed=3",)] == losses[("seed=3", "init_seed=0")]
    assert len({tuple(each) for each in losses.values()}) == 4


def test_the_seed_of_the_order_orders_a_corpus(corpora: Path, tmp_path: Path) -> None:
    firsts = []
    for seed in (0, 3):
        out = tmp_path / str(seed)
        words = [f"corpus_path={corpora / 'both'}", f"order_seed={seed}", *SMALL, *BRIEF]
        assert cli.main(["train", f"out={out}", *words]) == 0
        source = CorpusSource(corpora / "both")
        stream = TokenStream(source, batch_size=2, length=64, seed=seed)
        firsts.append(next(iter(stream))["input_ids"].tobytes())
    assert firsts[0] != firsts[1]
    assert rows(tmp_path / "0")[-1]["train_loss"] != rows(tmp_path / "3")[-1]["train_loss"]


def test_activations_that_are_computed_again_change_nothing(tmp_path: Path) -> None:
    losses = []
    for word in ("true", "false"):
        out = tmp_path / word
        words = [
            f"train.activation_checkpointing={word}",
            "train.document_mask=true",
            "logging.every_steps=1",
        ]
        assert cli.main(["train", *train_words(out, *words, "model.canon=AC")]) == 0
        losses.append([row["train_loss"] for row in rows(out)])
    assert losses[0] == losses[1]


@pytest.mark.parametrize("name", ["gpt2", "mamba2", "tiny_gpt2", "llama_looped"])
def test_trains_models_of_all_kinds(name: str, tmp_path: Path) -> None:
    small = ["model.layers=1", "model.width=16", "model.heads=2"]
    if name == "mamba2":
        small[-1:] = [
            "model.heads=4",
            "model.options={head_dim: 8, expand: 2, state_size: 8, n_groups: 1, chunk_size: 16}",
        ]
    words = train_words(
        tmp_path / "run", "dataset=depo-demo", f"model={name}", *small, "logging.every_steps=1"
    )
    assert cli.main(["train", *(word for word in words if not word.startswith("dataset."))]) == 0
    losses = [float(row["train_loss"]) for row in rows(tmp_path / "run")]
    assert losses[-1] < losses[0]


def test_mfu_counts_what_the_issue_says(tmp_path: Path) -> None:
    """6 (inside + head x labelled share + layers x width x context) x tokens/s, of the peak."""
    out = tmp_path / "run"
    words = ["train.max_steps=4", "logging.every_steps=4", "logging.peak_tflops=0.001"]
    assert cli.main(["train", *train_words(out, *words, "model.layers=2", "train.context_length=40")]) == 0
    (row,) = rows(out)
    inside = 2 * (4 * 16 * 16 + 3 * 16 * 48 + 2 * 16) + 16
    head = 18 * 16
    config = json.loads((out / "config.json").read_text())
    source = running.open_data(config, running.Seeds.of(config)).source
    stream = iter(TokenStream(source, batch_size=4, length=40))
    labels = sum(int((next(stream)["labels"][:, 1:] != -100).sum()) for _ in range(4))
    flops = 6 * (640 * (inside + 2 * 16 * 40) + labels * head)
    wanted = flops / 640 * float(row["tokens_per_second"]) / 1e9
    assert float(row["mfu"]) == pytest.approx(wanted, rel=0.01)


def test_tensorboard_has_what_the_csv_has(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    out = tmp_path / "run"
    words = ["logging.tensorboard=true", "logging.every_steps=2", "train.max_steps=6"]
    assert cli.main(["train", *train_words(out, *words)]) == 0
    read = EventAccumulator(str(out / "tensorboard"))
    read.Reload()
    found = {event.step: event.value for event in read.Scalars("train_loss")}
    assert found == pytest.approx({int(row["step"]): float(row["train_loss"]) for row in rows(out)}, abs=1e-5)
    assert "tokens_per_second" in read.Tags()["scalars"]


def test_a_library_that_is_missing_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    assert cli.main(["train", *train_words(tmp_path / "run", "logging.tensorboard=true")]) == 1
    assert "pip install 'ostraca[tensorboard]'" in capsys.readouterr().err


OWN = """
import torch
from torch import nn

class Hungry(nn.Module):
    def __init__(self, vocab_size):
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, 4)
        self.output = nn.Linear(4, vocab_size)

    def forward(self, input_ids):
        if self.training and len(input_ids) > 1:
            torch.empty(1 << 50)
        return self.output(self.embedding(input_ids))

class Narrow(Hungry):
    def __init__(self, vocab_size):
        super().__init__(vocab_size - 1)
"""


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["train.context_length=8"], "no token of the steps up to 4 was in the loss"),
        (["train.device=meta"], "train.device='meta' cannot be used (training is on cpu, cuda, mps)"),
        (["train.device=cuda:99"], "train.device='cuda:99' cannot be used"),
        (["model=hungry:Hungry"], "too little memory for a step"),
        (["model=hungry:Narrow"], "hungry:Narrow"),
        (["mixture=3"], "mixture=3 must name corpora"),
        (["mixture={a: {path: x}}"], "unknown key 'path'"),
        (["corpus_dataset=x"], "corpus_dataset=x: there is no corpus; set corpus_path"),
        (["corpus_path=/no/such"], "/no/such"),
        (["seeds=3"], "seeds=3 must be a list of seeds"),
        (["seeds=[1,1]"], "seeds=[1, 1] has a seed twice"),
        (["train.parallel=dpp"], "did you mean 'ddp'"),
        (["train.compile=true"], "train.compile"),
        (["logging.every_steps=0"], "logging.every_steps=0"),
        (["model=mamba2", "train.document_mask=true"], "document_mask"),
        (["experiment=depo9"], "experiment=depo9: no such experiment"),
    ],
)
def test_bad_input_is_one_line(
    words: list[str],
    line: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "hungry.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    dataset = [
        word
        for word in train_words(tmp_path / "run", *words)
        if not words[0].startswith(("corpus_path", "mixture")) or "dataset." not in word
    ]
    assert cli.main(["train", *dataset]) in (1, 2)
    (said,) = capsys.readouterr().err.splitlines()
    assert line in said
    assert not list(tmp_path.glob("run/checkpoints/*"))


def test_a_packed_corpus_wants_its_context(
    corpora: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = {
        "datasets": {"m": {"task": "mano", "splits": {"train": {"examples": 200}}}},
        "pack": {"length": 90},
    }
    build(spec, tmp_path / "packed", engine="local")
    words = [f"corpus_path={tmp_path / 'packed'}", *SMALL, *BRIEF]
    assert cli.main(["train", f"out={tmp_path / 'a'}", *words, "train.context_length=64"]) == 2
    assert "train.context_length=64 is shorter than the corpus's rows" in capsys.readouterr().err
    assert cli.main(["train", f"out={tmp_path / 'b'}", *words]) == 0
    assert " 2 x 90 tokens a step" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "peak"),
    [
        ("NVIDIA H100 80GB HBM3", 989),
        ("NVIDIA H100 PCIe", 756),
        ("NVIDIA A100-SXM4-40GB", 312),
        ("NVIDIA L40", 181),
        ("NVIDIA L40S", 362),
        ("NVIDIA RTX A4000", None),
        ("NVIDIA RTX A1000", None),
    ],
)
def test_what_gpus_can_do_is_known_by_whole_words(name: str, peak: float | None) -> None:
    assert known_peak(name) == (None if peak is None else peak * 1e12)


def test_a_gpu_has_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    """torch takes none without one as the current GPU."""
    chosen: list[torch.device] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    monkeypatch.setattr(torch, "empty", lambda *shape, device: None)
    for name in ("auto", "cuda", "cuda:2"):
        with ranks_of(name) as ranks:
            assert ranks.device.index is not None
    assert chosen == [torch.device("cuda:0"), torch.device("cuda:0"), torch.device("cuda:2")]


def test_processes_that_do_not_find_one_another_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    assert cli.main(["train", *train_words(tmp_path / "run")]) == 2
    (said,) = capsys.readouterr().err.splitlines()
    assert "the processes do not find one another" in said
