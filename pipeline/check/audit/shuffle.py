"""Tables of the same margins, drawn by shuffling."""

from __future__ import annotations

from ....tasks.core.kernels import kernel
from ....tasks.core.rng import integers, seed_stream


@kernel
def shuffle_tables(key, state, targets, rows, expected, counts, statistics):
    """Shuffle the targets again and again; of each table the sum of its counts' squares over those expected.

    key uint64 [2] of the stream, targets int32 [entries], rows int64 [features]: entries of each; expected
    float64 and counts int64 [features, targets]. state and counts are scratch.
    """
    seed_stream(state, key, 0, 0)
    for turn in range(len(statistics)):
        for place in range(len(targets) - 1, 0, -1):
            chosen = integers(state, place + 1)
            targets[place], targets[chosen] = targets[chosen], targets[place]
        counts[:] = 0
        at = 0
        for feature in range(len(rows)):
            for _ in range(rows[feature]):
                counts[feature, targets[at]] += 1
                at += 1
        total = 0.0
        for feature in range(counts.shape[0]):
            for target in range(counts.shape[1]):
                total += counts[feature, target] * counts[feature, target] / expected[feature, target]
        statistics[turn] = total
