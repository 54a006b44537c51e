"""The findings of an audit on the screen."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from .judge import LEVEL, Finding


def table_of(findings: Sequence[Finding]) -> Table:
    """A line for each test, what is off first."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for heading in ("", "what", "given"):
        table.add_column(heading)
    for heading in ("rows", "p", "p (Holm)", "bits", "gain", "p (permuted)", ""):
        table.add_column(heading, justify="right", no_wrap=True)
    for each in sorted(findings, key=lambda one: ("OFF", "not judged", "ok").index(one.verdict)):
        table.add_row(
            each.kind,
            each.name,
            ", ".join(each.given),
            f"{each.rows:,}",
            _chance(each.chance),
            _chance(each.corrected),
            f"{each.bits:+.1e}",
            "" if each.gain is None else f"{100 * each.gain:+.2f}%",
            "" if each.permuted is None else _chance(each.permuted),
            each.verdict,
            style="bold red" if each.off else None,
        )
    return table


def verdict(findings: Sequence[Finding]) -> str:
    """The audit's result in one line."""
    if not any(each.rows for each in findings):
        return "no whole example to judge"
    off = [each for each in findings if each.off]
    unjudged = sum(each.verdict == "not judged" for each in findings)
    rest = f"; {unjudged} not judged" if unjudged else ""
    if not off:
        return (
            f"clean: none of {len(findings)} tests is off (p below {LEVEL:g} after Holm's correction){rest}"
        )
    worst = min(off, key=lambda each: (each.corrected, -each.bits))
    return f"{len(off)} of {len(findings)} tests are off{rest}; the worst: {worst.kind} {worst.name}"


def _chance(value: float) -> str:
    return f"{value:.3f}" if value >= 0.001 else f"{value:.0e}"
