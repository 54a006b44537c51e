"""Builds that an older release began: what it left is made again or refused, never half-believed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import files_of

from ostraca.pipeline.build.build import build
from ostraca.pipeline.build.jobs.watch import Watch
from ostraca.pipeline.check.verify import verify
from ostraca.pipeline.corpus.layout import STATE
from ostraca.pipeline.corpus.records import ShardRecord

Maker = Callable[..., dict[str, Any]]


class _KilledError(Exception):
    pass


@pytest.mark.parametrize("mode", ["disjoint", "drop"])
@pytest.mark.parametrize("finished", [1, 3])
def test_its_shards_are_made_again(mode: str, finished: int, spec: Maker, tmp_path: Path) -> None:
    """Records without the tokens of row groups, whatever stands in the files that they are of."""
    asked = spec(train=900, dedup={"mode": mode})
    whole, root = tmp_path / "whole", tmp_path / "begun"
    build(asked, whole, engine="local")
    made: list[str] = []

    def kill(record: ShardRecord, was_there: bool) -> None:
        made.append(record.path)
        if len(made) == finished:
            raise _KilledError

    with pytest.raises(_KilledError):
        build(asked, root, engine="local", workers=1, watch=Watch(on_shard=kill))
    records = sorted((root / STATE / "shards").rglob("*.json"))
    assert len(records) >= finished
    for path in records:
        plain = json.loads(path.read_text())
        del plain["record"]["group_tokens"]
        path.write_text(json.dumps(plain))
    kept: list[str] = []
    watch = Watch(on_shard=lambda record, was_there: kept.append(record.path) if was_there else None)
    manifest = build(asked, root, engine="local", watch=watch)
    assert kept == []
    assert manifest["format_version"] == 4
    assert verify(root, content=True) == []
    assert files_of(root) == files_of(whole)
