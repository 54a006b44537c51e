"""The last rounds, in one process: few examples are left, but each may need many attempts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...corpus.split import Split
from ...spec.shards import Shard
from ...store.folder import Folder, write_bytes
from ..shards.prints import draw_prints
from ..shards.table import Table
from .counts import Counts, Space, exhausted

_WINDOW_DRAWS = 1 << 18  # made before they are looked up together
_LONGEST_WINDOW = 512  # attempts


def draw_tail(
    spec: Mapping[str, Any],
    shards: Sequence[Shard],
    ranks: NDArray[np.int64],
    places: NDArray[np.int64],
    attempt: int,
    taken: Callable[[NDArray[np.uint64]], NDArray[np.bool_]],
    spaces: Sequence[Space],
    counts: Mapping[tuple[str, str], Counts],
    on_step: Callable[[str, int, int], None],
) -> tuple[NDArray[np.int64], NDArray[np.uint64]]:
    """Draw the examples that are left, round by round from `attempt` on, until all stay or nothing is new.

    ranks, places: int64 [left], the examples, sorted. taken: which of some fingerprints have stayed before.
    Adds to `counts`, and returns the attempt that stayed of each example, int64 [left] (0: none), and the
    fingerprints of those that stay, uint64 [stay, 2]. on_step(what, done, of): see `find_duplicates`.
    """
    parts = sorted({(shards[rank].dataset, shards[rank].split) for rank in np.unique(ranks).tolist()})
    splits = [Split.of(spec, *part) for part in parts]
    number = {part: at for at, part in enumerate(parts)}
    # Of ranks whose split is not in the tail, any.
    part_of = np.array([number.get((shard.dataset, shard.split), 0) for shard in shards])[ranks]
    indices = places + np.array([shard.first_index for shard in shards])[ranks]
    attempts = np.zeros(len(ranks), np.int64)
    left = np.arange(len(ranks))
    own = Table.of_size(len(ranks))
    kept = [np.zeros((0, 2), np.uint64)]
    while len(left):
        window = min(max(1, _WINDOW_DRAWS // len(left)), _LONGEST_WINDOW)
        prints = np.empty((window, len(left), 2), np.uint64)
        for at, split in enumerate(splits):
            chosen = part_of[left] == at
            for each in range(window if chosen.any() else 0):
                prints[each, chosen] = draw_prints(split, indices[left[chosen]], attempt + each)
        free = ~taken(prints.reshape(-1, 2)).reshape(window, len(left))
        open_ = np.ones(len(left), bool)
        for each in range(window):
            tried = np.flatnonzero(open_)
            if not len(tried):
                break
            trying = tried[free[each, tried]]
            stays = trying[own.insert(prints[each, trying])]
            kept.append(prints[each, stays])
            open_[stays] = False
            attempts[left[stays]] = attempt + each
            tries = np.bincount(part_of[left[tried]], minlength=len(parts)).tolist()
            stayed = np.bincount(part_of[left[stays]], minlength=len(parts)).tolist()
            for at, part in enumerate(parts):
                counts[part].end_round(tries[at], tries[at] - stayed[at])
            for part in exhausted(spaces, counts, parts):
                open_[part_of[left] == number[part]] = False
        attempt += window
        left = left[open_]
        on_step("drawing the last again", len(ranks) - len(left), len(ranks))
    return attempts, np.concatenate(kept)


def write_tail(
    folder: Folder,
    path: str,
    shards: int,
    ranks: NDArray[np.int64],
    places: NDArray[np.int64],
    attempts: NDArray[np.int64],
) -> None:
    """Write what became of the examples that were left: int64 [left] each, sorted by rank and place."""
    offsets = np.searchsorted(ranks, np.arange(shards + 1)).astype("<i8")
    pairs = np.stack([places, attempts], axis=1).astype("<i8")
    write_bytes(folder, path, offsets.tobytes() + pairs.tobytes())


def read_tail(
    folder: Folder, path: str, shards: int, rank: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Places of those examples of a shard, of so many, that were left, and the attempts that stayed."""
    bounds = np.frombuffer(folder.read_range(path, 8 * rank, 8 * rank + 16), "<i8")
    start, stop = (8 * (shards + 1 + 2 * bounds)).tolist()
    pairs = np.frombuffer(folder.read_range(path, start, stop) if stop > start else b"", "<i8")
    pairs = pairs.reshape(-1, 2).astype(np.int64)
    return pairs[:, 0], pairs[:, 1]
