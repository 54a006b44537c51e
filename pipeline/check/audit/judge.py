"""From counts to findings: a p-value, an effect and a verdict for every test of an audit."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ....tasks.auditing import Audit
from . import tests
from .tally import Tally

LEVEL = 1e-4  # the chance that an audit of sound examples finds anything off


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What one test says.

    kind: law, pair, neighbours, seeds, splits or repeats. chance: the p-value; corrected: by Holm's method
    over all tests of the run. bits: how far the counts are from what they should be. gain and permuted: of
    pairs.
    """

    kind: str
    unit: str
    name: str
    given: tuple[str, ...]
    rows: int
    chance: float
    bits: float
    gain: float | None = None
    permuted: float | None = None
    corrected: float = 1.0
    tolerance: float = 0.0  # bits that the corpus's own settings may cause

    @property
    def verdict(self) -> str:
        """ok, OFF, or not judged: what the corpus's settings may cause says nothing of its examples."""
        if self.corrected >= LEVEL:
            return "ok"
        return "OFF" if self.bits >= self.tolerance else "not judged"

    @property
    def off(self) -> bool:
        return self.verdict == "OFF"

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        whole = asdict(self) | {"given": list(self.given), "verdict": self.verdict, "off": self.off}
        return {
            key: (None if isinstance(value, float) and not np.isfinite(value) else value)
            for key, value in whole.items()
        }


def judge(tally: Tally, more: Sequence[Finding] = (), kept: float = 1.0) -> list[Finding]:
    """The findings of a tally, and `more`, corrected together.

    kept: the share of the examples that are there. What is left out may depend on anything, so the law of
    the others is up to -log2 kept bits from that of all (and of two of them, as far as both are there).
    """
    audit, two = tally.audit, max(2 * kept - 1, 0.0)
    of_one, of_two = (-math.log2(share) if share > 0 else math.inf for share in (kept, two))
    findings = [
        replace(finding, tolerance=of_one) for finding in (*_laws(audit, tally), *_pairs(audit, tally))
    ]
    for (unit, column), counts in zip(audit.neighbours, tally.neighbours, strict=True):
        finding = compared("neighbours", unit, f"{column} of index i and i + 1", counts)
        findings.append(replace(finding, tolerance=of_two))
    findings += [
        finding if finding.kind == "repeats" else replace(finding, tolerance=of_two) for finding in more
    ]
    corrected = tests.holm(np.array([finding.chance for finding in findings]))
    return [
        replace(finding, corrected=float(chance)) for finding, chance in zip(findings, corrected, strict=True)
    ]


def _laws(audit: Audit, tally: Tally) -> list[Finding]:
    findings = []
    for law, counts in zip(audit.laws, tally.laws, strict=True):
        chances = law.law.reshape(counts.shape)
        statistic, freedom, bits = tests.against_law(counts, chances)
        other = tests.against_law_summed(counts, chances) if len(counts) > 1 else (0.0, 0)
        findings.append(
            Finding(
                kind="law",
                unit=law.unit,
                name=law.column,
                given=law.given,
                rows=int(counts.sum()),
                chance=_smaller((statistic, freedom), other),
                bits=bits,
            )
        )
    return findings


def _pairs(audit: Audit, tally: Tally) -> list[Finding]:
    findings = []
    for number, (pair, halves) in enumerate(zip(audit.pairs, tally.pairs, strict=True)):
        table = halves.sum(0)
        rng = np.random.default_rng(number)
        times = tests.affordable(table)
        law = None
        if pair.law is None:
            statistic, freedom, bits = tests.independence(table)
            other = tests.independence_summed(table)
            permuted = tests.permuted(table, times, rng)
        else:
            law = pair.law.reshape(table.shape)
            rows, chances = table.reshape(-1, table.shape[-1]), law.reshape(-1, table.shape[-1])
            statistic, freedom, bits = tests.against_law(rows, chances)
            other = _by_feature(table, law)
            permuted = tests.redrawn(rows, chances, times, rng)
        findings.append(
            Finding(
                kind="pair",
                unit=pair.unit,
                name=f"{pair.feature} → {pair.target}",
                given=pair.given,
                rows=int(table.sum()),
                chance=_smaller((statistic, freedom), other),
                bits=bits,
                gain=tests.gain(halves, law),
                permuted=permuted,
            )
        )
    return findings


def _by_feature(table: NDArray[np.int64], law: NDArray[np.float64]) -> tuple[float, int]:
    """Strata summed for each feature."""
    if len(table) < 2:
        return 0.0, 0
    results = [tests.against_law_summed(table[:, place], law[:, place]) for place in range(table.shape[1])]
    return sum(one[0] for one in results), sum(one[1] for one in results)


def compared(kind: str, unit: str, name: str, counts: NDArray[np.int64]) -> Finding:
    """The finding on two columns that should be independent: counts [values, values]."""
    statistic, freedom, bits = tests.independence(counts[None])
    chance = tests.chi_square_tail(statistic, freedom)
    return Finding(
        kind=kind, unit=unit, name=name, given=(), rows=int(counts.sum()), chance=chance, bits=bits
    )


def _smaller(*results: tuple[float, int]) -> float:
    """The least of some tests' p-values, times their number."""
    chances = [tests.chi_square_tail(*result) for result in results if result[1] > 0]
    return min(1.0, min(chances) * len(chances)) if chances else 1.0


def verdict(findings: Sequence[Finding]) -> str:
    """The audit's result in one line."""
    if not any(finding.rows for finding in findings):
        return "no whole example to judge"
    off = [finding for finding in findings if finding.off]
    unjudged = sum(finding.verdict == "not judged" for finding in findings)
    rest = f"; {unjudged} not judged" if unjudged else ""
    if not off:
        return (
            f"clean: none of {len(findings)} tests is off (p below {LEVEL:g} after Holm's correction){rest}"
        )
    worst = min(off, key=lambda finding: (finding.corrected, -finding.bits))
    return f"{len(off)} of {len(findings)} tests are off{rest}; the worst: {worst.kind} {worst.name}"
