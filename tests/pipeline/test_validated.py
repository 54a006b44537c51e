"""A build lets no example pass that the validator has not seen, and none that it refuses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ostraca.pipeline.build.build import build
from ostraca.pipeline.spec.check import check_spec
from ostraca.pipeline.spec.shards import plan
from ostraca.tasks import TASKS, get_task
from ostraca.tasks.errors import OstracaError

Maker = Callable[..., dict[str, Any]]


def test_an_example_that_is_not_valid_ends_the_build(
    spec: Maker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One wrong token in one of 2,100 examples: its shard does not come to stand, nor the manifest."""
    task = get_task("depo")

    def generate(config: Any, key: Any, indices: Any) -> pa.RecordBatch:
        batch = task.generate(config, key, indices)
        if 1_234 not in indices:
            return batch
        rows = batch["input_ids"].to_pylist()
        rows[indices.tolist().index(1_234)][-1] += 1
        return batch.set_column(0, batch.schema.field(0), pa.array(rows, batch.schema.field(0).type))

    monkeypatch.setattr(
        "ostraca.pipeline.corpus.split.get_task", lambda name: replace(task, generate=generate)
    )
    with pytest.raises(OstracaError, match=r"train-.*: example 1234 is .*generator and validator disagree"):
        build(spec(), tmp_path / "c", engine="local")
    assert not (tmp_path / "c/manifest.json").exists()
    shards = [shard for shard in plan(check_spec(spec())) if shard.split == "train"]
    (wrong,) = (each for each in shards if 0 <= 1_234 - each.first_index < each.count)
    assert not (tmp_path / "c" / wrong.path).exists()


@pytest.mark.parametrize("mode", ["off", "disjoint", "drop", "redraw"])
def test_every_example_goes_past_the_validator(
    mode: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that are drawn in the place of a duplicate as well."""
    task, seen = get_task("mano"), set()

    def validate(batch: pa.RecordBatch, config: Any) -> Any:
        seen.update(map(tuple, batch["input_ids"].to_pylist()))
        return task.validate(batch, config)

    monkeypatch.setattr(
        "ostraca.pipeline.corpus.split.get_task", lambda name: replace(task, validate=validate)
    )
    splits = {"train": {"examples": 300}, "test": {"examples": 40}}
    dataset = {"task": "mano", "config": {"L": 1, "value_mod": 5}, "splits": splits}
    made = build({"datasets": {"sums": dataset}, "dedup": {"mode": mode}}, tmp_path / "c", engine="local")
    paths = (tmp_path / "c").rglob("*.parquet")
    rows = [tuple(row) for path in paths for row in pq.read_table(path)["input_ids"].to_pylist()]
    assert len(rows) == made["totals"]["rows"] > 100
    assert set(rows) <= seen


@pytest.mark.parametrize("task", [name for name in TASKS if get_task(name).proofs is not None])
def test_a_proof_does_not_let_an_example_pass(
    task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One wrong token in one of 300 examples with proofs; `generate` is not asked, `validate` just why."""
    known = get_task(task)
    proofs = known.proofs
    assert proofs is not None

    def generate(config: Any, key: Any, indices: Any) -> Any:
        batch, proof = proofs.generate(config, key, indices)
        if 123 in indices:
            rows = batch["input_ids"].to_pylist()
            rows[indices.tolist().index(123)][20] += 1
            batch = batch.set_column(0, batch.schema.field(0), pa.array(rows, batch.schema.field(0).type))
        return batch, proof

    def unasked(*_: Any) -> Any:
        raise AssertionError

    def why(batch: pa.RecordBatch, config: Any) -> Any:
        assert batch["index"].to_pylist() == [123]
        return known.validate(batch, config)

    damaged = replace(known, generate=unasked, validate=why, proofs=replace(proofs, generate=generate))
    monkeypatch.setattr("ostraca.pipeline.corpus.split.get_task", lambda name: damaged)
    given = {"datasets": {"it": {"task": task, "splits": {"train": {"examples": 300}}}}}
    with pytest.raises(OstracaError, match=r"train-.*: example 123 is .*generator and validator disagree"):
        build(given, tmp_path / "c", engine="local")
