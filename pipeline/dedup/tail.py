"""The last rounds, in one process: few examples are left, but each may need many attempts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.dedup.counts import Counts, exhausted
from pipeline.dedup.prints import draw_prints
from pipeline.dedup.table import Table
from pipeline.plan import Shard

_WINDOW_DRAWS = 1 << 18  # made before they are looked up together
_LONGEST_WINDOW = 512  # attempts


def draw_tail(
    spec: Mapping[str, Any],
    shards: Sequence[Shard],
    waiting: Mapping[int, NDArray[np.int64]],
    attempt: int,
    taken: Callable[[NDArray[np.uint64]], NDArray[np.bool_]],
    counts: Mapping[tuple[str, str], Counts],
) -> tuple[bytes, NDArray[np.uint64]]:
    """Draw the examples that are left, round by round from `attempt` on, until all stay or nothing is new.

    waiting: rank of a shard -> places of its examples. taken: which of some fingerprints have stayed
    before. Returns what `tail_changes` reads and the fingerprints of those that stay, uint64 [n, 2]; adds to
    `counts`.
    """
    ranks = np.concatenate([np.full(len(places), rank) for rank, places in waiting.items()])
    places = np.concatenate(list(waiting.values()))
    order = np.lexsort((places, ranks))
    ranks, places = ranks[order], places[order]
    parts = sorted({(shards[rank].dataset, shards[rank].split) for rank in waiting})
    number = {rank: parts.index((shards[rank].dataset, shards[rank].split)) for rank in waiting}
    part_of = np.array([number[rank] for rank in ranks.tolist()])
    indices = places + np.array([shards[rank].first_index for rank in ranks.tolist()])
    attempts = np.zeros(len(ranks), np.int64)
    left = np.arange(len(ranks))
    own = Table.of_size(len(ranks))
    kept = [np.zeros((0, 2), np.uint64)]
    while len(left):
        window = min(max(1, _WINDOW_DRAWS // len(left)), _LONGEST_WINDOW)
        prints = np.empty((window, len(left), 2), np.uint64)
        for each in range(window):
            for at, part in enumerate(parts):
                chosen = part_of[left] == at
                if chosen.any():
                    prints[each, chosen] = draw_prints(spec, *part, indices[left[chosen]], attempt + each)
        free = ~taken(prints.reshape(-1, 2)).reshape(window, len(left))
        open_ = np.ones(len(left), bool)
        for each in range(window):
            tried = np.flatnonzero(open_)
            trying = np.flatnonzero(open_ & free[each])
            stays = trying[own.insert(prints[each, trying])]
            kept.append(prints[each, stays])
            open_[stays] = False
            attempts[left[stays]] = attempt + each
            for at, part in enumerate(parts):
                own_tries = int((part_of[left[tried]] == at).sum())
                if own_tries:
                    counts[part].end_round(own_tries, own_tries - int((part_of[left[stays]] == at).sum()))
        attempt += window
        left = left[open_]
        given_up = [parts.index(part) for part in exhausted(spec, counts, parts)]
        left = left[~np.isin(part_of[left], given_up)]
    offsets = np.searchsorted(ranks, np.arange(len(shards) + 1)).astype("<i8")
    pairs = np.stack([places, attempts], axis=1).astype("<i8")
    data = bytes(np.array([len(shards)], "<i8")) + bytes(offsets.data) + bytes(pairs.data)
    return data, np.concatenate(kept)


def tail_changes(data: bytes, rank: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Places of a shard's examples that were left, and the attempts that stayed (0: none)."""
    words = np.frombuffer(data, "<i8")
    shards = int(words[0])
    start, stop = words[1 + rank], words[2 + rank]
    pairs = words[2 + shards :].reshape(-1, 2)[start:stop]
    return pairs[:, 0].astype(np.int64), pairs[:, 1].astype(np.int64)
