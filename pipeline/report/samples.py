"""Rows of a corpus as HTML: what is learned marked, lines broken as the task wants them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from html import escape
from typing import Any

import pyarrow as pa

from ...tasks import get_task
from ...tasks.base import Look
from ...tasks.core.batch import rows_of
from ...tasks.vocabulary import split_renaming
from ..corpus.split import SplitId

MOST_TOKENS = 400
HEAD_TOKENS, TAIL_TOKENS = 120, 200  # of a longer example; what is learned stands mostly at its end


def sample_rows(spec: Mapping[str, Any], key: SplitId, batch: pa.RecordBatch) -> list[str]:
    """A figure for each row of a split's shards, with published ids and names whatever those in the rows."""
    dataset, split = key
    entry = spec["datasets"][dataset]
    task, config = get_task(entry["task"]), entry["splits"][split]["config"]
    renaming = split_renaming(spec, dataset, split)
    if renaming is not None:
        batch = renaming.inverse().batch(batch)
    names = task.tokens(config)
    whole = set(task.schema(config).names) <= set(batch.schema.names)  # not so of packed rows
    figures = []
    for row in rows_of(batch):
        look = task.look(row, config, False) if whole else Look(breaks=row.get("starts", ())[1:])
        figures.append(_figure(row, look, names))
    return figures


def _figure(row: Mapping[str, Any], look: Look, names: Mapping[int, str]) -> str:
    parts = []
    if "input_ids" in row:
        tokens, mask = row["input_ids"], row["loss_mask"]
        learned = "all" if all(mask) else f"{sum(mask):,}"
        facts = f"{len(tokens):,} tokens, loss on {learned}"
        if "starts" in row:
            facts += f", {len(row['starts']):,} documents"
        named = [names.get(token, str(token)) for token in tokens]
        style = "tokens all" if all(mask) else "tokens"
        parts.append(f'<p class="{style}">{_tokens(named, mask, look)}</p>')
    else:
        facts = f"{len(row['text'].encode()):,} bytes"
    if look.text:
        parts.append(f'<p class="below">{_underlined(look.text, look.text_underlined)}</p>')
    parts += [f'<p class="below"><code>{escape(line)}</code></p>' for line in look.below]
    facts = f"example {row['index']:,}: {facts}" + (f", {look.facts}" if look.facts else "")
    return f'<figure class="sample"><figcaption>{escape(facts)}</figcaption>{"".join(parts)}</figure>'


def _tokens(names: Sequence[str], mask: Sequence[int], look: Look) -> str:
    """Tokens parted by spaces; of a long example its beginning and its end."""
    underlined = {at for start, end in look.underlined for at in range(start, end)}
    breaks, marked = set(look.breaks), not all(mask)
    if len(names) <= MOST_TOKENS:
        return _run(range(len(names)), names, mask, breaks, underlined, marked)
    head, tail = range(HEAD_TOKENS), range(len(names) - TAIL_TOKENS, len(names))
    left_out = f" <em>… {len(names) - HEAD_TOKENS - TAIL_TOKENS:,} tokens left out …</em> "
    return left_out.join(_run(part, names, mask, breaks, underlined, marked) for part in (head, tail))


def _run(
    places: range,
    names: Sequence[str],
    mask: Sequence[int],
    breaks: Collection[int],
    underlined: Collection[int],
    marked: bool,
) -> str:
    parts = []
    for at in places:
        name = escape(names[at])
        if at in underlined:
            name = f"<u>{name}</u>"
        if mask[at] and marked:
            name = f"<mark>{name}</mark>"
        parts.append(("<br>" if at in breaks else "" if at == places.start else " ") + name)
    return "".join(parts)


def _underlined(text: str, spans: Sequence[tuple[int, int]]) -> str:
    parts, last = [], 0
    for start, end in sorted(spans):
        parts += [escape(text[last:start]), "<u>", escape(text[start:end]), "</u>"]
        last = end
    return "".join([*parts, escape(text[last:])])
