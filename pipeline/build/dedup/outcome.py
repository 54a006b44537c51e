"""What the search for duplicates has found, once it stands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ...corpus.changes import Changes
from ...spec.shards import Shard
from ...store.folder import Folder
from .search import changed_shards, changes_of, ranked


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The same for every job."""

    found: Mapping[str, Any]  # outcome.json
    order: tuple[Shard, ...]  # by rank
    changed: Mapping[str, int]  # path of a shard of which an example lost its first draw -> its rank

    @staticmethod
    def of(spec: Mapping[str, Any], folder: Folder, summary: Mapping[str, Any]) -> Outcome:
        """From what `find_duplicates` returned."""
        order = ranked(spec)
        changed = {order[rank].path: rank for rank in changed_shards(folder, summary, order)}
        return Outcome(found=summary, order=order, changed=changed)

    def changes(self, folder: Folder, path: str) -> Changes | None:
        """What became of the examples of a shard; None where all are their first draws."""
        if path not in self.changed:
            return None
        return changes_of(folder, self.found, self.order, self.changed[path])
