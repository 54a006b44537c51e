"""The audit's section of `report.html`: a picture of each split's p-values, a verdict, the least of them."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from ....tasks.errors import ConfigError, OstracaError
from ...report.drawing import FOOT, RIGHT, WIDTH, Dot, Drawing, Line, Plot, Shape, Text
from ...report.render import render
from ...store.folder import Folder, write_bytes
from .judge import LEVEL, Finding, verdict

_PAGE = "report.html"
_SECTION = re.compile(r'<section id="audit">.*?</section>\n?', re.DOTALL)
_LINK = '<a href="#audit">Audit</a>'
_BEFORE, _LINK_BEFORE = '<section id="again">', '<a href="#again">'
_TOP, _HIGH = 12.0, 142.0
_MOST = 30.0  # powers of ten up to which p-values are drawn
_SHOWN = 6  # tests in the table of each split, and all that are not ok
_COLOURS = {"OFF": "lost", "not judged": "read", "ok": "bar"}  # of verdicts, the worst first


@dataclass(frozen=True, kw_only=True)
class Told:
    """The audit of one split."""

    title: str
    examples: int
    note: str  # what its settings changed
    findings: Sequence[Finding]

    @property
    def verdict(self) -> str:
        return verdict(self.findings)

    @property
    def off(self) -> int:
        return sum(finding.off for finding in self.findings)

    @property
    def worst(self) -> list[Finding]:
        """The tests that are not ok, and those of the smallest p-values."""
        order = list(_COLOURS)
        worst = sorted(self.findings, key=lambda finding: (order.index(finding.verdict), finding.chance))
        return worst[: max(_SHOWN, sum(finding.verdict != "ok" for finding in worst))]

    @property
    def drawing(self) -> Drawing:
        """-log10 of the p-values, sorted, against that of as many uniform ones."""
        counts = {
            name: sum(finding.verdict == name for finding in self.findings) for name in reversed(_COLOURS)
        }
        share = ", ".join(f"{count} {name}" for name, count in counts.items() if count or name == "ok")
        return Drawing(
            title=self.title,
            note=f"{self.examples:,} examples: {share}",
            label=f"p-values of {self.title}",
            high=_TOP + _HIGH + FOOT,
            shapes=_shapes(sorted(self.findings, key=lambda finding: finding.chance)),
        )


def add_to_report(folder: Folder, audits: Sequence[Told]) -> None:
    """Put the audits into the corpus's page, in place of earlier ones.

    OstracaError where the corpus has no report.
    """
    if folder.size(_PAGE) is None:
        raise ConfigError(
            f"{folder}: no {_PAGE} to add the audit to; build with report=true, or leave it out"
        )
    page = _SECTION.sub("", folder.read(_PAGE).decode("utf-8", errors="replace")).replace(_LINK, "")
    before, mark, after = page.partition(_BEFORE)
    if not mark:
        raise OstracaError(f"{folder}: {_PAGE} is none that `ostraca build` wrote")
    before = before.replace(_LINK_BEFORE, _LINK + _LINK_BEFORE, 1)
    write_bytes(folder, _PAGE, f"{before}{section(audits)}{mark}{after}".encode())


def section(audits: Sequence[Told]) -> str:
    """The section: the same findings give the same text."""
    off, tests = sum(told.off for told in audits), sum(len(told.findings) for told in audits)
    return render("audit.html.j2", audits=audits, off=off, tests=tests, level=f"{LEVEL:g}")


def _shapes(findings: Sequence[Finding]) -> list[Shape]:
    count = max(len(findings), 1)
    level = -math.log10(LEVEL / count)
    heights = [min(-math.log10(max(finding.chance, 1e-300)), _MOST) for finding in findings]
    widest, highest = -math.log10(0.5 / count), max(level * 1.15, *heights)
    plot = Plot(across=(0, widest), upwards=(0, highest), top=_TOP, bottom=_TOP + _HIGH)
    powers = range(0, int(highest) + 1, 2 if highest < 14 else 5)
    shapes: list[Shape] = [*plot.levels(powers, _power), plot.level(0, "faint"), plot.level(level, "faint")]
    shapes.append(Line(plot.x(0), plot.y(0), plot.x(widest), plot.y(widest), "faint"))
    shapes += [plot.below(power, _power(power)) for power in range(int(widest) + 1)]
    shapes.append(Text(WIDTH - RIGHT, plot.y(level) - 4, "off above", "end"))
    shapes.append(plot.unit("p of as many sound tests"))
    for place, (finding, height) in enumerate(zip(findings, heights, strict=True)):
        x, y = plot.x(-math.log10((place + 0.5) / count)), plot.y(height)
        tip = f"{finding.kind} {finding.name}: p = {finding.chance:.2g}, {finding.verdict}"
        shapes.append(Dot(x, y, _COLOURS[finding.verdict], tip))
    return shapes


def _power(power: float) -> str:
    return "1" if power == 0 else f"{10.0**-power:g}" if power < 3 else f"1e-{power:.0f}"
