"""The last rounds, in one process: few examples are left, but each may need many attempts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...corpus.split import Split
from ...spec.shards import Shard
from ...store.folder import Folder
from ..shards.prints import draw_prints
from ..shards.sections import read_offsets, read_records, write_sections
from ..shards.table import Table
from .counts import Standing

_WINDOW_DRAWS = 1 << 18  # made before they are looked up together
_LONGEST_WINDOW = 512  # attempts
_PAIR = np.dtype([("place", "<i8"), ("attempt", "<i8")])


@dataclass(frozen=True, kw_only=True)
class Left:
    """Examples that have lost every attempt so far, sorted."""

    ranks: NDArray[np.int64]  # [left]: of their shards
    places: NDArray[np.int64]  # [left]: index - first_index
    attempt: int  # that comes next


def draw_tail(
    splits: Mapping[tuple[str, str], Split],
    shards: Sequence[Shard],
    left: Left,
    taken: Callable[[NDArray[np.uint64]], NDArray[np.bool_]],
    standing: Standing,
    on_step: Callable[[str, int, int], None],
) -> tuple[NDArray[np.int64], NDArray[np.uint64]]:
    """Draw the examples that are left, round by round, until all stay or nothing is new.

    taken: which of some fingerprints have stayed before. Counts in `standing`, and returns the attempt that
    stayed of each example, int64 [left] (0: none), and the fingerprints of those that stay, uint64 [stay, 2].
    on_step(what, done, of): see `find_duplicates`.
    """
    ranks, attempt = left.ranks, left.attempt
    parts = sorted({(shards[rank].dataset, shards[rank].split) for rank in np.unique(ranks).tolist()})
    number = {part: at for at, part in enumerate(parts)}
    # Of ranks whose split is not in the tail, any.
    part_of = np.array([number.get((shard.dataset, shard.split), 0) for shard in shards])[ranks]
    indices = left.places + np.array([shard.first_index for shard in shards])[ranks]
    attempts = np.zeros(len(ranks), np.int64)
    rest = np.arange(len(ranks))
    own = Table.of_size(len(ranks))
    kept = [np.zeros((0, 2), np.uint64)]
    while len(rest):
        window = min(max(1, _WINDOW_DRAWS // len(rest)), _LONGEST_WINDOW)
        prints = np.empty((window, len(rest), 2), np.uint64)
        for at, part in enumerate(parts):
            chosen = part_of[rest] == at
            for step in range(window if chosen.any() else 0):
                prints[step, chosen] = draw_prints(splits[part], indices[rest[chosen]], attempt + step)
        free = ~taken(prints.reshape(-1, 2)).reshape(window, len(rest))
        open_ = np.ones(len(rest), bool)
        for step in range(window):
            tried = np.flatnonzero(open_)
            if not len(tried):
                break
            trying = tried[free[step, tried]]
            stays = trying[own.insert(prints[step, trying])]
            kept.append(prints[step, stays])
            open_[stays] = False
            attempts[rest[stays]] = attempt + step
            tries = np.bincount(part_of[rest[tried]], minlength=len(parts)).tolist()
            stayed = np.bincount(part_of[rest[stays]], minlength=len(parts)).tolist()
            for at, part in enumerate(parts):
                standing.counts[part].end_round(tries[at], tries[at] - stayed[at])
            for part in standing.exhausted(parts):
                open_[part_of[rest] == number[part]] = False
        attempt += window
        rest = rest[open_]
        on_step("drawing the last again", len(ranks) - len(rest), len(ranks))
    return attempts, np.concatenate(kept)


def write_tail(folder: Folder, path: str, shards: int, left: Left, attempts: NDArray[np.int64]) -> None:
    """Write what became of the examples that were left: the attempt that stayed of each, int64 [left]."""
    offsets = np.searchsorted(left.ranks, np.arange(shards + 1))
    write_sections(folder, path, offsets, np.stack([left.places, attempts], axis=1).astype("<i8"))


def read_tail(
    folder: Folder, path: str, shards: int, rank: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Places of those examples of a shard, of so many, that were left, and the attempts that stayed."""
    pairs = read_records(folder, path, shards, read_offsets(folder, path, rank, rank + 1), _PAIR)
    return pairs["place"].astype(np.int64), pairs["attempt"].astype(np.int64)
