"""How many duplicates there will be at least: from how many examples are different, and from a sample."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ...tasks import get_task
from ...tasks.core.rng import canonical_json

Part = tuple[str, str]  # dataset, split


@dataclass(frozen=True, kw_only=True)
class Duplicates:
    """What can be said of a corpus's duplicates before it is made."""

    least: Mapping[Part, float]  # expected ones of each split, no fewer
    unknown: tuple[Part, ...]  # splits of which nothing is known
    used_up: tuple[tuple[Part, int, int], ...]  # splits that ask for more than there is: asked, different

    @property
    def total(self) -> float:
        return sum(self.least.values())

    def changed(self, part: Part, shards: int) -> float:
        """The share of a split's shards in which there is a duplicate, at least."""
        return -math.expm1(-self.least[part] / shards)


def least_duplicates(spec: Mapping[str, Any], repeated: Mapping[Part, tuple[int, int]]) -> Duplicates:
    """Lower bounds of the expected number of duplicates of a complete spec.

    repeated: of a sample of each split, how many examples one before equals, and how many there are. Two
    bounds hold whatever the distribution: examples of D equally likely ones repeat least often; and the
    share of duplicates among the first n examples only rises with n. A split whose space others share
    (eval and train) has those as well, which are counted where all of it is used up.
    """
    by_content = spec["dedup"]["key"] == "content"
    least: dict[Part, float] = {}
    sizes: dict[Part, int | None] = {}
    spaces: dict[str, list[Part]] = {}
    unknown, used_up = [], []
    for dataset, entry in spec["datasets"].items():
        task = get_task(entry["task"])
        for split, split_entry in entry["splits"].items():
            part, config = (dataset, split), split_entry["config"]
            size = None if task.distinct is None else task.distinct(config, by_content)
            found, tried = repeated[part]
            share = max(0.0, found - 2 * math.sqrt(found)) / max(1, tried)  # two deviations below
            known = 0.0 if size is None else _birthday(split_entry["examples"], size)
            least[part], sizes[part] = max(known, share * split_entry["examples"]), size
            # The examples of the test form are some of those of the other.
            plain = {k: v for k, v in config.items() if k not in task.test_form}
            spaces.setdefault(canonical_json([task.name, plain]), []).append(part)
            if size is None and found == 0:
                unknown.append(part)
    for parts in spaces.values():
        known_sizes = [size for part in parts if (size := sizes[part]) is not None]
        asked = sum(_examples(spec, part) for part in parts)
        if len(known_sizes) == len(parts) and asked > max(known_sizes):
            last = max(parts, key=lambda part: _examples(spec, part))
            beyond = asked - max(known_sizes) - sum(least[part] for part in parts)
            least[last] += max(0.0, beyond)
            used_up.append((last, asked, max(known_sizes)))
    return Duplicates(least=least, unknown=tuple(unknown), used_up=tuple(used_up))


def _examples(spec: Mapping[str, Any], part: Part) -> int:
    return int(spec["datasets"][part[0]]["splits"][part[1]]["examples"])


def _birthday(count: int, different: int) -> float:
    """The duplicates to be expected among `count` draws from so many equally likely examples."""
    if count * 10**4 < different:  # the difference below would be lost in rounding
        return math.exp(min(700.0, math.log(count) + math.log(max(1, count - 1)) - math.log(2 * different)))
    return (
        count + different * math.expm1(count * math.log1p(-1 / different)) if different > 1 else count - 1.0
    )
