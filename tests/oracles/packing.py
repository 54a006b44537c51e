"""Packing in plain Python, one token at a time, from the definitions of the modes alone."""

from __future__ import annotations

import itertools
from typing import Any

import pyarrow as pa

Document = tuple[int, list[int], list[int]]  # index, tokens, loss mask
Token = tuple[int, int, int, int]  # index of its document, place in it, id, mask


def pack(documents: list[Document], length: int, mode: str) -> list[dict[str, Any]]:
    """The packed rows, as dictionaries with the columns of a packed corpus."""
    by_mode = {"left_aligned": left_aligned, "whole": whole, "best_fit": best_fit, "concat": concat}
    return [row_of(tokens) for tokens in by_mode[mode](documents, length)]


def row_of(tokens: list[Token]) -> dict[str, Any]:
    documents, starts = [], []
    for place, (index, *_) in enumerate(tokens):
        if place == 0 or index != tokens[place - 1][0]:
            documents.append(index)
            starts.append(place)
    return {
        "input_ids": [token for _, _, token, _ in tokens],
        "loss_mask": [mask for *_, mask in tokens],
        "index": tokens[0][0],
        "offset": tokens[0][1],
        "starts": starts,
        "documents": documents,
    }


def tokens_of(document: Document) -> list[Token]:
    index, tokens, mask = document
    return [(index, place, *both) for place, both in enumerate(zip(tokens, mask, strict=True))]


def left_aligned(documents: list[Document], length: int) -> list[list[Token]]:
    rows: list[list[Token]] = []
    for document in documents:
        if not rows or len(rows[-1]) == length:
            rows.append([])
        rows[-1] += tokens_of(document)[: length - len(rows[-1])]
    return rows


def whole(documents: list[Document], length: int) -> list[list[Token]]:
    rows: list[list[Token]] = []
    for document in documents:
        if not rows or len(rows[-1]) + len(document[1]) > length:
            rows.append([])
        rows[-1] += tokens_of(document)
    return rows


def best_fit(documents: list[Document], length: int) -> list[list[Token]]:
    opened: list[list[Document]] = []

    def room(row: list[Document]) -> int:
        return length - sum(len(tokens) for _, tokens, _ in row)

    for document in sorted(documents, key=lambda each: (-len(each[1]), each[0])):
        fitting = [row for row in opened if room(row) >= len(document[1])]
        if fitting:
            min(fitting, key=room).append(document)  # the first of the fullest
        else:
            opened.append([document])
    rows = sorted(sorted(row) for row in opened)  # by index: no two are the same
    return [list(itertools.chain(*map(tokens_of, row))) for row in rows]


def concat(documents: list[Document], length: int) -> list[list[Token]]:
    stream = list(itertools.chain(*map(tokens_of, documents)))
    return [stream[start : start + length] for start in range(0, len(stream), length)]


def waste(packed: pa.RecordBatch, length: int) -> float:
    """The share of the rows' places, `length` each, that hold no token: 0 where all rows are full."""
    lengths = [len(row) for row in packed["input_ids"].to_pylist()]
    places = packed.num_rows * length
    return 1.0 - sum(lengths) / places if places else 0.0
