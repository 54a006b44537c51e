"""Lano's validator: parses the sentence again, exactly.

It shares with the generator only what a grammar is; how a sentence is made and how it is parsed have no
code in common.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ..base import Verdicts
from ..core.batch import unragged
from ..core.kernels import kernel
from .grammar import grammar_of
from .parse import furthest_tiled
from .spans import TOO_MANY

MESSAGES = (
    "valid",
    "does not begin with <bos>",
    "does not end with <eos>",
    "more tokens than the longest sentence",
    "the tokens are not a sentence of the grammar",
    "loss_mask is not 1 on every token",
    "length is not the number of terminals",
    "too ambiguous to parse: nearly everything spans nearly everything under this grammar",
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Framed:
    """The rows of a batch, and where their sentences stand."""

    tokens: NDArray[np.int32]
    offsets: NDArray[np.int32]
    begins: NDArray[np.int64]  # [rows]: a sentence's first token, where the row is framed as it must be
    lengths: NDArray[np.int64]  # [rows]
    codes: NDArray[np.int32]
    positions: NDArray[np.int64]


def validate(batch: pa.RecordBatch, config: Mapping[str, Any]) -> Verdicts:
    """Check every row of a batch with the column `input_ids` and any other column of Lano."""
    grammar, rows = grammar_of(config), framed(batch, config)
    good = rows.codes == 0
    furthest = furthest_tiled(grammar, rows.tokens, rows.begins[good], rows.lengths[good], give_up=True)
    rows.codes[good] = np.where(furthest == TOO_MANY, 7, np.where(furthest < 0, 0, 4))
    rows.positions[good] = np.where(furthest < 0, 0, furthest + config["bos"])
    check_columns(batch, rows)
    return Verdicts(codes=rows.codes, positions=rows.positions, messages=MESSAGES)


def framed(batch: pa.RecordBatch, config: Mapping[str, Any]) -> Framed:
    """Take <bos> and <eos> off every row, and refuse those that do not have them or are too long."""
    tokens, offsets = unragged(batch.column("input_ids"))
    rows = Framed(
        tokens=tokens,
        offsets=offsets,
        begins=np.empty(batch.num_rows, dtype=np.int64),
        lengths=np.empty(batch.num_rows, dtype=np.int64),
        codes=np.zeros(batch.num_rows, dtype=np.int32),
        positions=np.zeros(batch.num_rows, dtype=np.int64),
    )
    _check_frame(
        tokens,
        offsets,
        config["bos_token_id"] if config["bos"] else -1,
        config["eos_token_id"] if config["eos"] else -1,
        grammar_of(config).max_length,
        rows.begins,
        rows.lengths,
        rows.codes,
        rows.positions,
    )
    return rows


def check_columns(batch: pa.RecordBatch, rows: Framed) -> None:
    """Hold the mask and the metadata, where the batch has them, to the rows that are still valid."""
    mask, mask_offsets = _optional_list(batch, "loss_mask")
    given = batch.column("length").to_numpy() if "length" in batch.schema.names else _empty(np.int32)
    _check_columns(rows.offsets, rows.lengths, mask, mask_offsets, given, rows.codes, rows.positions)


def _optional_list(batch: pa.RecordBatch, name: str) -> tuple[NDArray[Any], NDArray[np.int32]]:
    """A column of bytes, or empty arrays where the batch has none."""
    if name in batch.schema.names:
        return unragged(batch.column(name))
    return _empty(np.uint8), _empty(np.int32)


def _empty(dtype: Any) -> NDArray[Any]:
    """No values, read-only as Arrow's are: Numba would compile the kernel once more for the other kind."""
    array = np.empty(0, dtype)
    array.flags.writeable = False
    return array


@kernel
def _check_frame(tokens, offsets, bos, eos, longest, begins, lengths, codes, positions):
    """Where each sentence begins and how long it is, between <bos> and <eos> (-1: none)."""
    for row in range(len(codes)):
        begin, end = int(offsets[row]), int(offsets[row + 1])
        if bos >= 0:
            if begin == end or tokens[begin] != bos:
                codes[row] = 1
                continue
            begin += 1
        if eos >= 0:
            if begin == end or tokens[end - 1] != eos:
                codes[row] = 2
                positions[row] = max(end - 1 - offsets[row], 0)
                continue
            end -= 1
        begins[row] = begin
        lengths[row] = end - begin
        if end - begin > longest:
            codes[row] = 3
            positions[row] = begin - offsets[row] + longest


@kernel
def _check_columns(offsets, lengths, mask, mask_offsets, given, codes, positions):
    """The loss mask and the length of the rows that are sentences."""
    for row in range(len(codes)):
        if codes[row] != 0:
            continue
        if len(mask_offsets):
            count = mask_offsets[row + 1] - mask_offsets[row]
            wrong = -1
            if count != offsets[row + 1] - offsets[row]:
                wrong = 0
            else:
                first, odd = mask_offsets[row], np.uint8(0)
                # All of them, with places that have no sign: then many are looked at together.
                for place in range(np.uint64(first), np.uint64(first + count)):
                    odd |= mask[place] ^ np.uint8(1)
                if odd != 0:
                    wrong = 0
                    while mask[first + wrong] == 1:
                        wrong += 1
            if wrong >= 0:
                codes[row] = 5
                positions[row] = wrong
                continue
        if len(given) and given[row] != lengths[row]:
            codes[row] = 6
