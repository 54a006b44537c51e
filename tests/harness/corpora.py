"""Whether a corpus that went through a fault is what it would have been without."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ostraca.pipeline.check.verify import verify
from ostraca.pipeline.corpus.manifest import read_manifest
from ostraca.pipeline.store.atomic import is_temporary


def everything(root: Path) -> dict[str, Any]:
    """All that lies in a folder, byte for byte but for when the manifest was made."""
    found: dict[str, Any] = {
        str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()
    }
    manifest = json.loads(found["manifest.json"])
    return {**found, "manifest.json": {**manifest, "created": None}}


def check_after_kill(root: Path) -> None:
    """Where the manifest stands, the corpus is whole."""
    if (root / "manifest.json").exists():
        assert verify(root, content=True) == []


def check_whole(root: Path, reference: Path) -> None:
    """Nothing lost, nothing torn, nothing left behind, the same bytes."""
    assert read_manifest(root)["content_digest"] == read_manifest(reference)["content_digest"]
    found, wanted = everything(root), everything(reference)
    others = {name for name in found.keys() | wanted.keys() if found.get(name) != wanted.get(name)}
    assert others == set(), f"not as in {reference}: {sorted(others)}"
    assert [path for path in root.rglob("*") if is_temporary(path)] == []
    assert not (root / ".ostraca-build").exists()
