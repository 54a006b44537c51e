"""Depo's questions of one number of hops: what `ostraca curve` measures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..base import Hops
from ..core.sizes import MIN_SIZE, size_probabilities
from .config import check


def of_one_hop(config: Mapping[str, Any], hop: int, qa: bool) -> dict[str, Any]:
    """The complete config that asks `hop` alone; with `qa` all examples have n = N nodes."""
    return check({**config, "fixed_k": hop, "qa": qa})


def chance(config: Mapping[str, Any]) -> float:
    """Accuracy of naming one of the example's n nodes blindly, 0..1: 1/n, averaged over the answers."""
    if config["qa"]:
        return 1.0 / int(config["N"])
    answers = total = 0.0
    for n, probability in enumerate(size_probabilities(config["N"]), start=MIN_SIZE):
        asked = min(int(config["M"]), n)
        answers += float(probability) * asked
        total += float(probability) * asked / n
    return total / answers


HOPS = Hops(key="K", config=of_one_hop, answer=lambda config: int(config["answer_token_id"]), chance=chance)
