"""How many duplicates there will be at least: from how many examples are different, and from a sample."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..build.dedup.counts import spaces_of
from ..corpus.split import SplitId, splits_of


@dataclass(frozen=True, kw_only=True)
class Duplicates:
    """What can be said of a corpus's duplicates before it is made."""

    least: Mapping[SplitId, float]  # expected ones of each split, no fewer
    unknown: tuple[SplitId, ...]  # splits of which nothing is known
    used_up: tuple[tuple[SplitId, int, int], ...]  # splits that ask for more than there is: asked, different

    @property
    def total(self) -> float:
        return sum(self.least.values())

    def changed(self, part: SplitId, shards: int) -> float:
        """The share of a split's shards in which there is a duplicate, at least."""
        return -math.expm1(-self.least[part] / shards)


def least_duplicates(spec: Mapping[str, Any], repeated: Mapping[SplitId, tuple[int, int]]) -> Duplicates:
    """Lower bounds of the expected number of duplicates of a complete spec.

    repeated: of a sample of each split, how many examples one before equals, and how many there are. Two
    bounds hold whatever the distribution: examples of D equally likely ones repeat least often; and the
    share of duplicates among the first n examples only rises with n. A split whose space others share
    (eval and train) has those as well, which are counted where all of it is used up.
    """
    least: dict[SplitId, float] = {}
    splits = {split.id: split for split in splits_of(spec)}
    unknown, used_up = [], []
    for part, split in splits.items():
        equal, tried = repeated[part]
        share = max(0.0, equal - 2 * math.sqrt(equal)) / max(1, tried)  # two deviations below
        known = 0.0 if split.distinct is None else _birthday(split.examples, split.distinct)
        least[part] = max(known, share * split.examples)
        if split.distinct is None and equal == 0:
            unknown.append(part)
    for space in spaces_of(splits.values()):
        asked = sum(splits[part].examples for part in space.parts)
        all_known = all(splits[part].distinct is not None for part in space.parts)
        if space.size is not None and all_known and asked > space.size:
            last = max(space.parts, key=lambda part: splits[part].examples)
            beyond = asked - space.size - sum(least[part] for part in space.parts)
            least[last] += max(0.0, beyond)
            used_up.append((last, asked, space.size))
    return Duplicates(least=least, unknown=tuple(unknown), used_up=tuple(used_up))


def _birthday(count: int, different: int) -> float:
    """The duplicates to be expected among `count` draws from so many equally likely examples."""
    if count * 10**4 < different:  # the difference below would be lost in rounding
        return math.exp(min(700.0, math.log(count) + math.log(max(1, count - 1)) - math.log(2 * different)))
    return (
        count + different * math.expm1(count * math.log1p(-1 / different)) if different > 1 else count - 1.0
    )
