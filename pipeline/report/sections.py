"""A dataset's section of the page: its distributions, duplicates, rows and config."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

import numpy as np
import pyarrow as pa

from ...tasks import get_task
from ..corpus.split import SplitId
from ..corpus.split_statistics import Counts
from .charts import charts_of, shares_of
from .columns import about_column, about_task, schema_of, type_name
from .figures import Figures, of_texts, percent
from .samples import sample_rows
from .svg import histogram, shares


def section(
    manifest: Mapping[str, Any],
    dataset: str,
    figures: Mapping[SplitId, Figures],
    statistics: Mapping[SplitId, Counts],
    samples: Mapping[SplitId, pa.RecordBatch],
) -> str:
    """All about one dataset, as HTML."""
    spec = manifest["spec"]
    entry = spec["datasets"][dataset]
    task = entry["task"]
    keys = [key for key in figures if key[0] == dataset]
    counts = {split: statistics[_, split] for _, split in keys}
    sample = next((samples[key] for key in keys if key in samples), None)
    parts = [
        f'<section id="{escape(dataset)}"><h2>{escape(dataset)}</h2>',
        f'<p class="lead">{escape(about_task(task))}</p>',
        f"<p>{'; '.join(_sentence(split, figures[dataset, split]) for _, split in keys)}.</p>",
        _legend(counts),
        '<div class="charts">',
        *_charts(counts, "bytes" if of_texts(manifest, dataset) else "tokens"),
        "</div>",
    ]
    for key in keys:
        if key in samples:
            parts.append(_samples(key[1], sample_rows(spec, key, samples[key])))
    parts.append(_config(entry))
    parts.append(_columns(task, schema_of(manifest, dataset, sample)))
    return "".join([*parts, "</section>"])


def _sentence(split: str, each: Figures) -> str:
    learned = "all" if each.learned == each.counted else percent(each.learned_share)
    return (
        f"<b>{escape(split)}</b> {each.examples:,} examples of {each.mean:,.1f} tokens, {learned} in the loss"
    )


def _legend(counts: Mapping[str, Counts]) -> str:
    """What orange means, where there is any."""
    if all(each.before is each.after or each.before == each.after for each in counts.values()):
        return ""
    return (
        '<p class="note"><span class="key b"></span>in the corpus&ensp; '
        '<span class="key o"></span>gone as duplicates</p>'
    )


def _charts(counts: Mapping[str, Counts], tokens: str) -> Iterator[str]:
    for chart in charts_of(counts, tokens):
        title = f"{chart.title}: {', '.join(strip.name for strip in chart.strips)}"
        yield _figure(chart.title, "", histogram(chart.bins, chart.strips, chart.unit, title))
    for each in shares_of(counts, tokens):
        what, note = "fewer", f"{each.split}: share of the examples that are gone"
        if np.nanmin(each.lost) < 0:
            what, note = "fewer (blue: more)", f"{each.split}: how many fewer, below the line how many more"
        yield _figure(each.title, note, shares(each.bins, each.lost, each.unit, each.title, what))


def _figure(title: str, note: str, chart: str) -> str:
    small = f" <small class='note'>{escape(note)}</small>" if note else ""
    return f"<figure><figcaption>{escape(title)}{small}</figcaption>{chart}</figure>"


def _samples(split: str, rows: Sequence[str]) -> str:
    """The first row, and the others on demand."""
    more = f"<details><summary>{len(rows) - 1} more</summary>{''.join(rows[1:])}</details>"
    return f"<h3>Rows of {escape(split)}</h3>{rows[0]}{more if len(rows) > 1 else ''}" if rows else ""


def _config(entry: Mapping[str, Any]) -> str:
    """Every key of the config, a column for each split; what differs between them is bold."""
    splits = sorted(entry["splits"], key=lambda split: (split != "train", split))
    configs = [entry["splits"][split]["config"] for split in splits]
    head = "".join(f"<th>{escape(split)}</th>" for split in splits)
    lines = []
    for name, key in get_task(entry["task"]).keys.items():
        values = [config.get(name) for config in configs]
        if name == "tokenizer_name_or_path" and any(config.get("tokenizer_sha256") for config in configs):
            continue  # where it once was is of one machine; its digest says which
        style = ' class="differs"' if any(value != values[0] for value in values) else ""
        cells = "".join(f"<td{style}>{_value(value)}</td>" for value in values)
        lines.append(f"<tr><td><code>{escape(name)}</code></td>{cells}<td>{escape(key.help)}</td></tr>")
    return (
        f"<details><summary>Config: {escape(entry['task'])}, version {entry['version']}</summary>"
        f'<div class="scroll"><table><thead><tr><th>key</th>{head}<th></th></tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table></div></details>"
    )


def _value(value: Any) -> str:
    """A config's value as JSON writes it, cut where it is long (a grammar, Capo's sentences)."""
    words = value if isinstance(value, str) else json.dumps(value)
    return escape(words if len(words) <= 40 else f"{words[:37]}...")


def _columns(task: str, schema: pa.Schema) -> str:
    lines = [
        f"<tr><td><code>{escape(field.name)}</code></td><td>{escape(type_name(field.type))}</td>"
        f"<td>{escape(about_column(task, field.name, schema))}</td></tr>"
        for field in schema
    ]
    return (
        '<details><summary>Columns</summary><div class="scroll"><table>'
        f"<thead><tr><th>column</th><th>type</th><th></th></tr></thead><tbody>{''.join(lines)}</tbody>"
        "</table></div></details>"
    )
