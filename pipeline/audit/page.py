"""The audit's section of `report.html`: a picture of all p-values, and the tests of the smallest."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from html import escape

from pipeline.audit.judge import LEVEL, Finding
from pipeline.audit.show import verdict
from pipeline.folder import Folder, write_bytes
from pipeline.report.svg import WIDTH, element, text
from tasks.errors import OstracaError

_PAGE = "report.html"
_SECTION = re.compile(r'<section id="audit">.*?</section>\n?', re.DOTALL)
_BEFORE = '<section id="again">'
_HEIGHT, _EDGE, _MOST = 200, 36, 12.0  # _MOST: powers of ten up to which p-values are drawn
_SHOWN = 8  # tests in the table of each split, and all that are off


def add_to_report(folder: Folder, audits: Sequence[tuple[str, int, Sequence[Finding]]]) -> None:
    """Put the audits (title, examples, findings) into the corpus's page, in place of earlier ones.

    OstracaError where the corpus has no report.
    """
    if folder.size(_PAGE) is None:
        raise OstracaError(
            f"{folder}: no {_PAGE} to add the audit to; build with report=true, or leave it out"
        )
    page = _SECTION.sub("", folder.read(_PAGE).decode("utf-8", errors="replace"))
    before, mark, after = page.partition(_BEFORE)
    if not mark:
        raise OstracaError(f"{folder}: {_PAGE} is none that `ostraca build` wrote")
    write_bytes(folder, _PAGE, f"{before}{section(audits)}\n{mark}{after}".encode())


def section(audits: Sequence[tuple[str, int, Sequence[Finding]]]) -> str:
    """The section: the same findings give the same text."""
    parts = [
        '<section id="audit"><h2>Audit</h2><p>Every random quantity against its exact law, every surface '
        "feature against what it must not tell. Sound examples lie along the line; what is above it is less "
        "likely than chance allows.</p>"
    ]
    for title, examples, findings in audits:
        worst = sorted(findings, key=lambda each: (not each.off, each.chance))
        worst = worst[: max(_SHOWN, sum(each.off for each in findings))]
        rows = "".join(
            f"<tr><td>{escape(each.kind)}</td><td>{escape(each.name)}</td><td>{each.chance:.2g}</td>"
            f"<td>{each.corrected:.2g}</td><td>{each.bits:.1e}</td>"
            f"<td>{'OFF' if each.off else 'ok'}</td></tr>"
            for each in worst
        )
        parts.append(
            f"<h3>{escape(title)}</h3><p>{examples:,} examples: {escape(verdict(findings))}.</p>"
            f"<figure>{_picture(findings, title)}</figure>"
            '<div class="scroll"><table><thead><tr><th>test</th><th>of</th><th>p</th><th>p (Holm)</th>'
            f"<th>bits</th><th></th></tr></thead><tbody>{rows}</tbody></table></div>"
        )
    return "".join([*parts, "</section>"])


def _picture(findings: Sequence[Finding], title: str) -> str:
    """-log10 of the p-values, sorted, against that of as many uniform ones."""
    chances = sorted(each.chance for each in findings)
    count = len(chances)
    most = max(-math.log10(0.5 / count), -math.log10(LEVEL / count))
    points = []
    for place, chance in enumerate(chances):
        x = -math.log10((place + 0.5) / count)
        y = min(-math.log10(max(chance, 1e-300)), _MOST)
        style = "lost" if chance * count < LEVEL else "bar"
        points.append(element("circle", {"cx": _x(x, most), "cy": _y(y), "r": 2.5, "class": style}))
    line = {"x1": _x(0, most), "y1": _y(0), "class": "axis"}
    level = _y(-math.log10(LEVEL / count))
    return element(
        "svg",
        {"viewBox": f"0 0 {WIDTH} {_HEIGHT}", "role": "img", "aria-label": f"p-values of {title}"},
        element("line", {**line, "x2": _x(most, most), "y2": _y(0)}),
        element(
            "line", {**line, "x2": _x(min(most, _MOST), most), "y2": _y(min(most, _MOST)), "class": "grid"}
        ),
        element("line", {**line, "y1": level, "x2": _x(most, most), "y2": level, "class": "grid"}),
        text(_EDGE, level - 4, "off above this", "note"),
        text(_EDGE, 12, f"-log10 p of {count} tests (up to {_MOST:g})", "unit"),
        text(WIDTH - 8, _HEIGHT - 8, "expected of sound examples", "unit", "end"),
        *points,
    )


def _x(value: float, most: float) -> float:
    return _EDGE + (WIDTH - 2 * _EDGE) * value / most


def _y(value: float) -> float:
    return _HEIGHT - _EDGE - (_HEIGHT - 2 * _EDGE) * value / _MOST
