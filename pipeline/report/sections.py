"""A dataset's section of the page: its distributions, duplicates, rows and config."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.report.bins import Bins, bins_of
from pipeline.report.columns import TASKS, about_column, schema_of, type_name
from pipeline.report.figures import Figures, Key, dedup_mode, of_texts, percent, short
from pipeline.report.samples import sample_rows
from pipeline.report.svg import Strip, histogram, shares
from pipeline.statistics import Counts, Histogram, Statistics
from tasks import get_task

_MOST_BARS = 30  # of shares: over a noisy few each bar would say nothing


def section(
    manifest: Mapping[str, Any],
    dataset: str,
    figures: Mapping[Key, Figures],
    statistics: Mapping[Key, Counts],
    samples: Mapping[Key, pa.RecordBatch],
) -> str:
    """All about one dataset, as HTML."""
    spec = manifest["spec"]
    entry = spec["datasets"][dataset]
    keys = [key for key in figures if key[0] == dataset]
    counts = {split: statistics[_, split] for _, split in keys}
    sample = next((samples[key] for key in keys if key in samples), None)
    parts = [
        f'<section id="{escape(dataset)}"><h2>{escape(dataset)}</h2>',
        f'<p class="lead">{escape(entry["task"].capitalize())}: {escape(TASKS.get(entry["task"], "a task"))}</p>',
        f"<p>{'; '.join(_sentence(split, figures[dataset, split]) for _, split in keys)}.</p>",
        _legend(counts),
        '<div class="charts">',
        *charts(counts, "bytes" if of_texts(manifest, dataset) else "tokens"),
        *(_duplicates(counts) if dedup_mode(manifest) != "off" else []),
        "</div>",
    ]
    for key in keys:
        if key in samples:
            parts.append(_samples(key[1], sample_rows(spec, key, samples[key])))
    parts.append(_config(entry))
    parts.append(_columns(entry["task"], schema_of(manifest, dataset, sample)))
    return "".join([*parts, "</section>"])


def _sentence(split: str, each: Figures) -> str:
    learned = "all" if each.learned == each.counted else percent(each.learned_share)
    return f"<b>{escape(split)}</b> {each.examples:,} examples of {each.mean:,.1f} tokens, {learned} learned"


def _legend(counts: Mapping[str, Counts]) -> str:
    """What orange means, where there is any."""
    if not any(each.dropped for each in counts.values()):
        return ""
    gone = '<span class="key b"></span>in the corpus&ensp; <span class="key o"></span>duplicates, dropped'
    return f'<p class="note">{gone}</p>'


def charts(counts: Mapping[str, Counts], tokens: str) -> list[str]:
    """The lengths and every stratum that the statistics know, a chart each."""
    made = [_chart(counts, f"{tokens.capitalize()} per example", tokens, lambda each: each.lengths)]
    for label in labels_of(counts):
        made.append(_chart(counts, label.capitalize(), label, _stratum(label)))
    return [each for each in made if each]


def labels_of(counts: Mapping[str, Counts]) -> list[str]:
    """The strata of some splits, each once."""
    return list(dict.fromkeys(label for each in counts.values() for label in each.before.strata))


def _stratum(label: str) -> Callable[[Statistics], Histogram]:
    return lambda statistics: statistics.strata.get(label, Histogram())


def _chart(
    counts: Mapping[str, Counts], title: str, unit: str, part: Callable[[Statistics], Histogram]
) -> str:
    """The distribution of one thing, a strip for each split that has it."""
    known = {split: each for split, each in counts.items() if len(part(each.before).values)}
    if not known:
        return ""
    bins = bins_of([part(side) for each in known.values() for side in (each.before, each.after)])
    strips = []
    for number, (split, each) in enumerate(known.items()):
        changed = each.before is not each.after and part(each.before) != part(each.after)
        listed = part(each.after).total != each.after.rows
        strips.append(
            Strip(
                name=split,
                note=_note(part(each.after)),
                counts=bins.counts[2 * number + 1],
                before=bins.counts[2 * number] if changed else None,
                of="count" if listed else "examples",
            )
        )
    return _figure(title, "", histogram(bins, strips, unit, f"{title}: {', '.join(known)}"))


def _note(values: Histogram) -> str:
    """The least, the mean and the largest value."""
    if not len(values.values):
        return "none left"
    lows, highs = values.edges()
    if lows[0] == highs[-1]:
        return f"all {lows[0]:,}"
    middles = (lows + highs) / 2
    mean = float(middles @ values.counts) / values.total
    digits = 0 if mean >= 100 else 1
    return f"{lows[0]:,} to {highs[-1]:,}, mean {mean:,.{digits}f}"


def _duplicates(counts: Mapping[str, Counts]) -> list[str]:
    """The share of examples that were taken out, by length and by stratum, of the splits that lost some."""
    made = []
    for split, each in counts.items():
        if each.before is each.after or each.before == each.after:
            continue
        for label in ("", *each.before.strata):
            part = _stratum(label) if label else (lambda statistics: statistics.lengths)
            before, after = part(each.before), part(each.after)
            bins, lost = lost_shares(before, after)
            what = "fewer" if np.nanmin(lost, initial=0) >= 0 else "fewer (blue: more)"
            title = f"Duplicates by {label or 'number of tokens'}"
            note = f"{split}: share of the examples that are gone"
            if what != "fewer":
                note = f"{split}: how many fewer there are, below the line how many more"
            made.append(_figure(title, note, shares(bins, lost, label or "tokens", title, what)))
    return made


def lost_shares(before: Histogram, after: Histogram) -> tuple[Bins, NDArray[np.float64]]:
    """1 - after / before in each bin; NaN where there was nothing before."""
    bins = bins_of([before, after], _MOST_BARS)
    was, now = bins.counts
    lost = np.full(len(was), np.nan)
    np.divide(was - now, was, out=lost, where=was > 0)
    return bins, lost


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
        style = ' class="differs"' if any(value != values[0] for value in values) else ""
        cells = "".join(f"<td{style}>{_value(value)}</td>" for value in values)
        lines.append(f"<tr><td><code>{escape(name)}</code></td>{cells}<td>{escape(key.help)}</td></tr>")
    return (
        f"<details><summary>Config: {escape(entry['task'])} version {entry['version']}</summary>"
        f'<div class="scroll"><table><thead><tr><th>key</th>{head}<th></th></tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table></div></details>"
    )


def _value(value: Any) -> str:
    words = {None: "null", True: "true", False: "false"}.get(value) if value in (None, True, False) else None
    if words is None or type(value) is int:
        words = str(value) if isinstance(value, (str, int)) else f"({short(len(str(value)))} characters)"
    return escape(words if len(words) <= 40 else f"{words[:37]}...")


def _columns(task: str, schema: pa.Schema) -> str:
    lines = [
        f"<tr><td><code>{escape(field.name)}</code></td><td>{escape(type_name(field.type))}</td>"
        f"<td>{escape(about_column(task, field.name))}</td></tr>"
        for field in schema
    ]
    return (
        '<details><summary>Columns</summary><div class="scroll"><table>'
        f"<thead><tr><th>column</th><th>type</th><th></th></tr></thead><tbody>{''.join(lines)}</tbody>"
        "</table></div></details>"
    )
