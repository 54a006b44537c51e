"""The examples of 30 lines that users copy: each runs as its first line says, in as many processes."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from streams import take

from ostraca.loaders import open_stream

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples" / "loaders"
DDP = ("-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", "0", "--standalone")


def run(script: str, *words: object, launcher: tuple[str, ...] = ()) -> str:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    call = [sys.executable, *launcher, str(EXAMPLES / script), *map(str, words)]
    done = subprocess.run(call, capture_output=True, text=True, env=environment, timeout=240, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_no_example_is_longer_than_30_lines_of_code() -> None:
    for path in EXAMPLES.glob("*.py"):
        lines = [line for line in path.read_text().splitlines() if line.strip()]
        assert len(lines) <= 31, path  # with the line that says what it is


def test_all_examples_are_run_here() -> None:
    assert {path.name for path in EXAMPLES.glob("*.py")} == set(
        re.findall(r'"(\w+\.py)"', Path(__file__).read_text())
    )


def test_ddp(corpus: Path, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    said = run("ddp.py", corpus, tmp_path / "state.pt", launcher=DDP)
    assert len(re.findall(r"rank [01]: 20 steps", said)) == 2
    state = torch.load(tmp_path / "state.pt")["data"]
    one = open_stream(corpus, batch_size=8, length=128, epochs=1)
    one.load_state_dict(state)
    assert one.step == 11


def test_trainer(corpus: Path, tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    assert "train_loss" in run("hugging_face_trainer.py", corpus, tmp_path)


def test_lightning(corpus: Path) -> None:
    pytest.importorskip("lightning")
    assert "6 steps" in run("lightning_module.py", corpus)


@pytest.mark.parametrize("processes", [1, 2])
def test_accelerate_trains_on_the_stream_s_batches(corpus: Path, processes: int) -> None:
    pytest.importorskip("accelerate")
    said = run("with_accelerate.py", corpus, launcher=DDP if processes == 2 else ())
    sums = dict(re.findall(r"step (\d): \(\d, 128\) of \(8, 128\), sum (\d+)", said))
    wanted = [
        int(batch["input_ids"].sum()) for batch in take(open_stream(corpus, batch_size=8, length=128), 6)
    ]
    assert [int(sums[str(step)]) for step in range(6)] == wanted
    assert f"({8 // processes}, 128)" in said


def test_torchtitan(corpus: Path) -> None:
    pytest.importorskip("torch")
    assert "(4, 128) (4, 128) 1" in run("torchtitan_dataloader.py", corpus)


@pytest.mark.parametrize("script", ["duckdb_query.py", "polars_query.py"])
def test_queries(corpus: Path, script: str) -> None:
    pytest.importorskip(script.split("_")[0])
    assert "examples" in run(script, corpus, "small")
    assert json.loads((corpus / "manifest.json").read_text())["totals"]["rows"] > 0


def test_the_code_in_the_document_runs(corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import shutil

    import pyarrow as pa
    import pyarrow.parquet as pq

    shutil.copytree(corpus, tmp_path / "corpora" / "depo1")
    (tmp_path / "fineweb").mkdir()
    texts = pa.table({"input_ids": [list(range(1, 900))] * 400})
    pq.write_table(texts, tmp_path / "fineweb" / "a.parquet", row_group_size=20)
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "loading.md").read_text(), flags=re.DOTALL)
    assert len(blocks) == 2
    for block in blocks:
        smaller = block.replace("batch_size=256", "batch_size=6").replace("length=2048", "length=64")
        names: dict[str, object] = {}
        exec(re.sub(r"for batch in stream:.*", "for batch in [next(iter(stream))]:", smaller), names)
        (batch,) = take(names["stream"], 1)  # type: ignore[arg-type]
        assert batch["input_ids"].shape == (6, 64)
