"""Rows of a corpus as people read them: tokens by name, and lines broken as the task wants."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from ...tasks import get_task
from ...tasks.base import Look
from ...tasks.core.batch import rows_of
from ...tasks.vocabulary import split_renaming
from ..corpus.split import SplitId

MOST_TOKENS = 400
HEAD_TOKENS, TAIL_TOKENS = 120, 200  # of a longer example; what is learned stands mostly at its end


Token = tuple[str, bool, bool, bool]  # name, learned, underlined, at the beginning of a line


@dataclass(frozen=True, kw_only=True)
class Example:
    """A row as it is shown.

    runs: all tokens, or the first and the last with `left_out` between them. marked: only some are learned.
    text: (a part of it, whether it is underlined).
    """

    facts: str
    runs: Sequence[Sequence[Token]]
    left_out: int
    marked: bool
    text: Sequence[tuple[str, bool]]
    below: Sequence[str]


def sample_rows(spec: Mapping[str, Any], key: SplitId, batch: pa.RecordBatch) -> list[Example]:
    """The rows of a split's shards, with published ids and names whatever those in the rows."""
    dataset, split = key
    entry = spec["datasets"][dataset]
    task, config = get_task(entry["task"]), entry["splits"][split]["config"]
    renaming = split_renaming(spec, dataset, split)
    if renaming is not None:
        batch = renaming.inverse().batch(batch)
    names = task.tokens(config)
    whole = set(task.schema(config).names) <= set(batch.schema.names)  # not so of packed rows
    examples = []
    for row in rows_of(batch):
        look = task.look(row, config, False) if whole else Look(breaks=row.get("starts", ())[1:])
        examples.append(_example(row, look, names))
    return examples


def _example(row: Mapping[str, Any], look: Look, names: Mapping[int, str]) -> Example:
    tokens, mask = row.get("input_ids", ()), row.get("loss_mask", ())
    if "input_ids" in row:
        facts = f"{len(tokens):,} tokens, loss on {'all' if all(mask) else f'{sum(mask):,}'}"
        facts += f", {len(row['starts']):,} documents" if "starts" in row else ""
    else:
        facts = f"{len(row['text'].encode()):,} bytes"
    breaks, underlined = set(look.breaks), {at for span in look.underlined for at in range(*span)}
    parts = [range(len(tokens))] if len(tokens) else []
    if len(tokens) > MOST_TOKENS:
        parts = [range(HEAD_TOKENS), range(len(tokens) - TAIL_TOKENS, len(tokens))]
    runs = [
        [
            (names.get(tokens[at], str(tokens[at])), bool(mask[at]), at in underlined, at in breaks)
            for at in part
        ]
        for part in parts
    ]
    return Example(
        facts=f"example {row['index']:,}: {facts}" + (f", {look.facts}" if look.facts else ""),
        runs=runs,
        left_out=len(tokens) - sum(map(len, runs)),
        marked=not all(mask),
        text=list(_parts(look.text, look.text_underlined)),
        below=look.below,
    )


def _parts(text: str, underlined: Sequence[tuple[int, int]]) -> Iterator[tuple[str, bool]]:
    last = 0
    for start, end in sorted(underlined):
        yield text[last:start], False
        yield text[start:end], True
        last = end
    if text[last:]:
        yield text[last:], False
