"""`report.html`: one file, without scripts and without anything loaded from elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

import pyarrow as pa

from ..corpus.split import SplitId
from ..corpus.split_statistics import Counts
from .columns import sources
from .figures import (
    Figures,
    dedup_mode,
    figures_of,
    megabytes,
    of_texts,
    percent,
    short,
    told_mode,
    total,
    usage,
)
from .sections import section
from .style import CSS
from .svg import element


def make_page(
    manifest: Mapping[str, Any],
    statistics: Mapping[SplitId, Counts],
    samples: Mapping[SplitId, pa.RecordBatch],
) -> str:
    """The whole page."""
    figures, datasets = figures_of(manifest, statistics), list(manifest["spec"]["datasets"])
    name = escape(manifest["name"])
    body = [
        _head(manifest, figures),
        _overview(manifest, figures),
        *(section(manifest, dataset, figures, statistics, samples) for dataset in datasets),
        _again(manifest),
    ]
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{name}</title><style>{CSS}</style></head>\n<body>\n" + "\n".join(body) + "\n</body></html>\n"
    )


def _head(manifest: Mapping[str, Any], figures: Mapping[SplitId, Figures]) -> str:
    """The title, the figures that matter, and where to find what."""
    spec, every = manifest["spec"], total(figures.values())
    datasets = list(spec["datasets"])
    tasks = ", ".join(task.capitalize() for task in manifest["tasks"])
    units = "bytes of text" if all(of_texts(manifest, each) for each in datasets) else "tokens"
    facts = [
        (short(every.examples), "examples, each validated"),
        (short(every.tokens), units),
        (percent(every.learned_share), f"of the {units} are in the loss"),
        (f"{every.mean:,.0f}", f"{units} of an example, on average"),
        (megabytes(every.bytes), f"in {every.shards:,} shards, {every.bytes_per_token:.2f} bytes a token"),
    ]
    mode = told_mode(manifest, figures)
    if mode == "drop" and dedup_mode(manifest) == "disjoint":
        facts.append((short(every.dropped), "left out of train, as they are in an eval split"))
    elif mode != "off":
        gone = every.dropped if mode == "drop" else every.redrawn
        verb = "dropped" if mode == "drop" else "redrawn"
        share = f", {percent(gone / max(gone + every.examples, 1))} of all" if mode == "drop" else ""
        facts.append((short(gone), f"duplicates {verb}{share}"))
    pack = spec.get("pack")
    if pack:
        full = percent(every.tokens / max(every.rows * pack["length"], 1))
        facts.append((short(every.rows), f"rows of {pack['length']:,} tokens ({pack['mode']}), {full} full"))
    tiles = "".join(f"<div><dt>{escape(what)}</dt><dd>{escape(much)}</dd></div>" for much, what in facts)
    links = "".join(f'<a href="#{escape(each)}">{escape(each)}</a>' for each in datasets)
    return (
        f"<header><h1>{escape(manifest['name'])}</h1>"
        f'<p class="lead">Synthetic pretraining data ({escape(tasks)}), made by Ostraca. Content digest '
        f"<code>{escape(manifest['content_digest'])}</code></p>"
        f'<dl class="tiles">{tiles}</dl>'
        f'<nav aria-label="Sections">{links}<a href="#again">Make it again</a></nav></header>'
    )


def _overview(manifest: Mapping[str, Any], figures: Mapping[SplitId, Figures]) -> str:
    """How the tokens are shared out among the datasets, or the splits of one, and the table of all."""
    datasets = list(manifest["spec"]["datasets"])
    if len(datasets) > 1:
        sums = {each: total(value for key, value in figures.items() if key[0] == each) for each in datasets}
    else:
        sums = {split: each for (_, split), each in figures.items()}
    every, most = total(sums.values()), max(each.tokens for each in sums.values())
    lines = []
    for name, each in sums.items():
        share = percent(each.tokens / max(every.tokens, 1))
        lines.append(
            f'<span class="k">{escape(name)}</span>'
            f'<span class="v">{short(each.tokens)}</span><span class="s">{share}</span>'
            f"{_share_bar(each, most)}"
        )
    legend = (
        '<p class="note"><span class="key b"></span>in the loss (loss_mask 1)&ensp; '
        '<span class="key r"></span>only read</p>'
    )
    mixture = f"<h3>Tokens</h3>{legend}<div class='mix'>{''.join(lines)}</div>"
    return f"<section>{mixture}{_table(manifest, figures)}</section>"


def _share_bar(each: Figures, most: int) -> str:
    """Tokens as a bar of 100 units for the largest dataset, what is learned of them darker."""
    wide = 100 * each.tokens / max(most, 1)
    learned = wide * each.learned_share
    tip = f"{each.tokens:,} tokens, {percent(each.learned_share)} in the loss"
    bars = [
        element("rect", {"x": float(x), "y": 0, "width": float(width), "height": 10, "class": style})
        for x, width, style in ((0.0, learned, "bar"), (learned, wide - learned, "read"))
        if width > 0
    ]
    box = {"viewBox": "0 0 100 10", "preserveAspectRatio": "none", "role": "img", "aria-label": tip}
    return element("svg", box, element("title", {}, escape(tip)), *bars)


def _table(manifest: Mapping[str, Any], figures: Mapping[SplitId, Figures]) -> str:
    mode, packed = told_mode(manifest, figures), bool(manifest["spec"].get("pack"))
    heads = ["examples", *(["packed rows"] if packed else []), "tokens", "mean length", "in the loss"]
    heads += [] if mode == "off" else ["duplicates"]
    heads += ["shards", "MB", "bytes / token"]
    head = "".join(f'<th class="n">{each}</th>' for each in heads)
    lines, last = [], ""
    for (dataset, split), each in figures.items():
        again = dataset == last
        name = "" if again else f'<a href="#{escape(dataset)}">{escape(dataset)}</a>'
        cells = _cells(each, mode, packed)
        lines.append(f"<tr><td>{name}</td><td>{escape(split)}</td>{cells}</tr>")
        last = dataset
    cells = _cells(total(figures.values()), mode, packed)
    lines.append(f'<tr class="sum"><td>all</td><td></td>{cells}</tr>')
    return (
        '<div class="scroll"><table class="wide"><thead><tr><th>dataset</th><th>split</th>'
        f"{head}</tr></thead><tbody>{''.join(lines)}</tbody></table></div>"
    )


def _cells(each: Figures, mode: str, packed: bool) -> str:
    cells = [f"{each.examples:,}", *([f"{each.rows:,}"] if packed else []), f"{each.tokens:,}"]
    cells += [f"{each.mean:,.1f}", percent(each.learned_share)]
    cells += [] if mode == "off" else [f"{each.dropped if mode == 'drop' else each.redrawn:,}"]
    cells += [f"{each.shards:,}", f"{each.bytes / 1e6:,.1f}", f"{each.bytes_per_token:.2f}"]
    return "".join(f'<td class="n">{each}</td>' for each in cells)


def _again(manifest: Mapping[str, Any]) -> str:
    """How to check the corpus, make it again and name it; its digests."""
    spec = manifest["spec"]
    commands = (
        "ostraca verify path=.        # every byte against the manifest\n"
        "ostraca reproduce path=.     # make it again from the manifest alone, and compare\n"
    )
    python = usage(manifest, ".")
    code = f"<pre>{escape(python)}</pre>" if python else ""
    facts = {
        "content digest": manifest["content_digest"],
        **{f"content digest, {name}": entry["content_digest"] for name, entry in manifest["splits"].items()},
        "spec digest": manifest["spec_digest"],
        "tasks": ", ".join(f"{task} version {version}" for task, version in manifest["tasks"].items()),
        "seed": spec["seed"],
        "vocabulary": spec["vocabulary"],
        "format": spec.get("format", "parquet"),
        "compression": spec.get("compression"),
        "packing": _plain(spec.get("pack")),
        "duplicates": _plain(spec.get("dedup")),
    }
    address = "its task, version, config, seed, split and index"
    if dedup_mode(manifest) == "redraw":
        address += ", and if it was redrawn of the number of the draw"
    lines = "".join(
        f"<tr><th>{escape(name)}</th><td><code>{escape(str(value))}</code></td></tr>"
        for name, value in facts.items()
        if value not in (None, "")
    )
    return (
        '<section id="again"><h2>Make it again</h2>'
        f"<p>An example is a pure function of {address}. The manifest holds all of these, so that anyone can "
        "make every example of this corpus again and prove that it is the same. The content digest is of the "
        "examples alone, whatever the shards, the file format and the libraries: cite it.</p>"
        f"<pre>{escape(commands)}</pre>{code}"
        f'<div class="scroll"><table><tbody>{lines}</tbody></table></div>'
        f"<p class='note'>{escape(sources(manifest['tasks']))}</p></section>"
    )


def _plain(value: Any) -> str:
    """A small mapping of the spec in one line."""
    if not value:
        return ""
    return ", ".join(f"{key} {each}" for key, each in value.items() if each not in (None, [], ""))
