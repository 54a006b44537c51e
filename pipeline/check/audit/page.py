"""The audit's section of `report.html`: a picture of each split's p-values, a verdict, the least of them."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from ....tasks.errors import ConfigError, OstracaError
from ...report.svg import WIDTH, element, text
from ...store.folder import Folder, write_bytes
from .judge import LEVEL, Finding, verdict

_PAGE = "report.html"
_SECTION = re.compile(r'<section id="audit">.*?</section>\n?', re.DOTALL)
_LINK = '<a href="#audit">Audit</a>'
_BEFORE, _LINK_BEFORE = '<section id="again">', '<a href="#again">'
_HEIGHT, _LEFT, _RIGHT, _TOP, _FOOT = 190, 42, 12, 12, 36
_MOST = 30.0  # powers of ten up to which p-values are drawn
_SHOWN = 6  # tests in the table of each split, and all that are not ok
_STYLES = {"ok": "bar", "not judged": "read", "OFF": "lost"}


@dataclass(frozen=True, kw_only=True)
class Told:
    """The audit of one split."""

    title: str
    examples: int
    note: str  # what its settings changed
    findings: Sequence[Finding]


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
    write_bytes(folder, _PAGE, f"{before}{section(audits)}\n{mark}{after}".encode())


def section(audits: Sequence[Told]) -> str:
    """The section: the same findings give the same text."""
    off = sum(each.off for told in audits for each in told.findings)
    tests = sum(len(told.findings) for told in audits)
    result = f"{off} of {tests:,} tests are off" if off else f"None of {tests:,} tests is off"
    figures = "".join(
        f"<figure><figcaption>{escape(told.title)} <small>{told.examples:,} examples: "
        f"{_share(told.findings)}</small></figcaption>{_picture(told)}</figure>"
        for told in audits
    )
    details = "".join(_details(told) for told in audits)
    return (
        f'<section id="audit"><h2>Audit</h2><p class="lead">{result}.</p>'
        "<p>Every random quantity of the tasks against its exact law, every surface feature (a length, a "
        "place, an id) against what it must not tell, neighbouring examples and splits against each other. "
        "Each point is a test: how small its p-value is, and how small it would be of sound examples, which "
        f"lie along the line. What is above the upper line (p below {LEVEL:g}, corrected for the number of "
        "tests) is off.</p>"
        f'<div class="charts">{figures}</div>{details}</section>'
    )


def _share(findings: Sequence[Finding]) -> str:
    counts = {name: sum(each.verdict == name for each in findings) for name in _STYLES}
    return ", ".join(f"{count} {name}" for name, count in counts.items() if count or name == "ok")


def _details(told: Told) -> str:
    """The tests that are not ok, and those of the smallest p-values."""
    order = list(_STYLES)[::-1]
    worst = sorted(told.findings, key=lambda each: (order.index(each.verdict), each.chance))
    worst = worst[: max(_SHOWN, sum(each.verdict != "ok" for each in worst))]
    rows = "".join(_row(each) for each in worst)
    note = f'<p class="note">{escape(told.note)}.</p>' if told.note else ""
    heads = "<th>test</th><th>of</th><th>given</th>" + "".join(
        f'<th class="n">{name}</th>' for name in ("rows", "p", "p (Holm)", "bits")
    )
    opened = " open" if any(each.off for each in told.findings) else ""
    return (
        f"<details{opened}><summary>{escape(told.title)}: {escape(verdict(told.findings))}</summary>{note}"
        f'<div class="scroll"><table><thead><tr>{heads}<th></th></tr></thead>'
        f"<tbody>{rows}</tbody></table></div></details>"
    )


def _row(finding: Finding) -> str:
    words = "".join(
        f"<td>{escape(word)}</td>" for word in (finding.kind, finding.name, ", ".join(finding.given))
    )
    numbers = (
        f"{finding.rows:,}",
        f"{finding.chance:.2g}",
        f"{finding.corrected:.2g}",
        f"{finding.bits:.1e}",
    )
    cells = "".join(f'<td class="n">{number}</td>' for number in numbers)
    style = ' class="differs"' if finding.off else ""
    return f"<tr>{words}{cells}<td{style}>{finding.verdict}</td></tr>"


def _picture(told: Told) -> str:
    """-log10 of the p-values, sorted, against that of as many uniform ones."""
    found = sorted(told.findings, key=lambda each: each.chance)
    count = max(len(found), 1)
    level = -math.log10(LEVEL / count)
    heights = [min(-math.log10(max(each.chance, 1e-300)), _MOST) for each in found]
    widest, highest = -math.log10(0.5 / count), max(level * 1.15, *heights)

    def x(value: float) -> float:
        return _LEFT + (WIDTH - _LEFT - _RIGHT) * value / widest

    def y(value: float) -> float:
        return _HEIGHT - _FOOT - (_HEIGHT - _FOOT - _TOP) * value / highest

    parts = []
    step = 2 if highest < 14 else 5
    for power in range(0, int(highest) + 1, step):
        style = "grid" if power else "axis"
        parts.append(_line(x(0), y(power), x(widest), y(power), style))
        parts.append(text(_LEFT - 6, y(power) + 3.5, _power(power), "tick", "end"))
    for power in range(int(widest) + 1):
        parts.append(text(x(power), _HEIGHT - _FOOT + 14, _power(power), "tick", "middle"))
    parts.append(_line(x(0), y(0), x(widest), y(widest), "axis"))
    parts.append(_line(x(0), y(level), x(widest), y(level), "axis"))
    parts.append(text(WIDTH - _RIGHT, y(level) - 4, "off above", "note", "end"))
    parts.append(text(WIDTH - _RIGHT, _HEIGHT - 4, "p of as many sound tests", "unit", "end"))
    for place, (each, height) in enumerate(zip(found, heights, strict=True)):
        point = {"cx": x(-math.log10((place + 0.5) / count)), "cy": y(height), "r": 2.5}
        tip = element("title", {}, escape(f"{each.kind} {each.name}: p = {each.chance:.2g}, {each.verdict}"))
        parts.append(element("circle", point | {"class": _STYLES[each.verdict]}, tip))
    box = {"viewBox": f"0 0 {WIDTH} {_HEIGHT}", "role": "img", "aria-label": f"p-values of {told.title}"}
    return element("svg", box, *parts)


def _line(x1: float, y1: float, x2: float, y2: float, style: str) -> str:
    return element("line", {"x1": x1, "y1": y1, "x2": x2, "y2": y2, "class": style})


def _power(power: int) -> str:
    return "1" if power == 0 else f"{10.0**-power:g}" if power < 3 else f"1e-{power}"
