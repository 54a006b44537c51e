"""The audit finds every planted leak, and nothing in what follows the law."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pipeline.audit.judge import Finding, judge
from pipeline.audit.tally import Tally
from tasks import get_task
from tests.pipeline.planted import CONFIG, depo_rows

ROWS = 20_000


def findings(rows: int = ROWS, seed: int = 0, **planted: Any) -> list[Finding]:
    """The audit of planted Depo in its test form."""
    config = get_task("depo").check(CONFIG)
    audit = get_task("depo").audit
    assert audit is not None
    tally = Tally(audit=audit(config))
    for first in range(0, rows, 5000):
        index = np.arange(first, first + 5000)
        tally.add(index, tally.audit.tables(depo_rows(config, index, seed, **planted)))
    return judge(tally)


def off(found: list[Finding]) -> set[str]:
    return {f"{each.kind} {each.name}" for each in found if each.off}


@pytest.mark.parametrize("seed", range(2))
def test_depo_from_the_published_law_is_clean(seed: int) -> None:
    """Another generator than the project's own: the declarations are the law's, not the code's."""
    assert off(findings(seed=seed)) == set()


def test_words_in_draw_order_are_found() -> None:
    """Version 1: early words are short, so neighbours on the cycle have like lengths."""
    assert off(findings(draw_order=True)) >= {"pair asked_length → answer_length"}


def test_an_answer_biased_by_one_percent_is_found() -> None:
    assert off(findings(rows=200_000, biased=0.01)) >= {"law hop"}


def test_edges_in_graph_order_are_found() -> None:
    assert off(findings(rows=5000, graph_order=True)) >= {"law answer_shift"}
