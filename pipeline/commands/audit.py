"""`ostraca audit`: a config in, a table and a verdict on the screen."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from ...tasks.errors import ConfigError, check_bool, check_integer, check_path
from ...tasks.examples import MAX_INDEX
from ..build.jobs.engine import available_cores
from ..check.audit.audits import MOST_EXAMPLES, audit_corpus, audit_made
from ..check.audit.judge import LEVEL, Finding, verdict
from ..check.audit.page import Told, add_to_report
from ..store.open import open_folder
from .tables import print_table


def run(config: Mapping[str, Any]) -> int:
    """`ostraca audit`: see conf/audit.yaml."""
    most = check_integer("audit: examples", config["examples"], 1, min(MOST_EXAMPLES, MAX_INDEX))
    as_json = check_bool("audit: json", config["json"])
    workers = available_cores() if config["workers"] is None else config["workers"]
    workers = check_integer("audit: workers", workers, 1)
    audits = audit_made(config, most, workers) if config["path"] is None else audit_corpus(config, most)
    in_report = check_bool("audit: report", config["report"])
    if in_report and config["path"] is None:
        raise ConfigError("audit: report=true adds to a corpus's report; say which with path=DIR")
    documents, off, told = [], False, []
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 140)
    for title, examples, findings, note, seconds in audits:
        off = off or any(finding.off for finding in findings)
        told.append(Told(title=title.rpartition(": ")[2], examples=examples, note=note, findings=findings))
        if as_json:
            documents.append(
                {
                    "name": title,
                    "examples": examples,
                    "level": LEVEL,
                    "off": any(finding.off for finding in findings),
                    "note": note,
                    "findings": [finding.plain() for finding in findings],
                }
            )
            continue
        print_table(console, _table(findings))
        for line in (note, f"{title}, {examples:,} examples, {seconds:.1f} s: {verdict(findings)}"):
            if line:
                print(line)
    if in_report:
        add_to_report(open_folder(check_path("path", config["path"])), told)
    if as_json:
        print(json.dumps({"off": off, "audits": documents}, indent=1, ensure_ascii=False))
    return int(off)


def _table(findings: Sequence[Finding]) -> Table:
    """A line for each test, what is off first."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for heading in ("", "what", "given"):
        table.add_column(heading)
    for heading in ("rows", "p", "p (Holm)", "bits", "gain", "p (permuted)", ""):
        table.add_column(heading, justify="right", no_wrap=True)
    for finding in sorted(findings, key=lambda one: ("OFF", "not judged", "ok").index(one.verdict)):
        table.add_row(
            finding.kind,
            finding.name,
            ", ".join(finding.given),
            f"{finding.rows:,}",
            _chance(finding.chance),
            _chance(finding.corrected),
            f"{finding.bits:+.1e}",
            "" if finding.gain is None else f"{100 * finding.gain:+.2f}%",
            "" if finding.permuted is None else _chance(finding.permuted),
            finding.verdict,
            style="bold red" if finding.off else None,
        )
    return table


def _chance(value: float) -> str:
    return f"{value:.3f}" if value >= 0.001 else f"{value:.0e}"
