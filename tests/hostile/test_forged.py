"""Shards of the right names with other types or impossible values, and a manifest that fits them.

Nothing but the schema and the values can tell: sizes and digests are those of the forged file, with a tail or
as from before there were tails.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from attacks import BATCHES, CONTENT, EXPORT, LOAD, ROWS, VERIFY, build_small, forge, groups_of, small
from harness.hostile import Case, try_all

Change = Callable[[pa.RecordBatch], pa.RecordBatch]
READERS = [LOAD, BATCHES, ROWS, EXPORT, VERIFY, CONTENT]
ROW_READERS = frozenset({"load", "batches", "rows", "export", "content"})


def with_column(name: str, values: Any, kind: pa.DataType, nullable: bool = False) -> Change:
    """Another column of this name; values: of each row, or a function of the old ones."""

    def change(batch: pa.RecordBatch) -> pa.RecordBatch:
        place = batch.schema.get_field_index(name)
        old = batch.column(name).to_pylist()
        new = pa.array(values(old) if callable(values) else [values] * len(old), kind)
        return batch.set_column(place, pa.field(name, kind, nullable=nullable), new)

    return change


def same_type(name: str, values: Callable[[list[Any]], list[Any]]) -> Change:
    """Other values in a column of the same type."""

    def change(batch: pa.RecordBatch) -> pa.RecordBatch:
        field = batch.schema.field(name)
        rows = values(batch.column(name).to_pylist())
        new = pa.array(map(bytes, rows) if pa.types.is_binary(field.type) else rows, field.type)
        return batch.set_column(batch.schema.get_field_index(name), field, new)

    return change


def in_row(row: int, change: Callable[[list[Any]], list[Any]]) -> Callable[[list[Any]], list[Any]]:
    return lambda rows: [change(list(values)) if at == row else values for at, values in enumerate(rows)]


def required(kind: pa.DataType) -> pa.Field:
    return pa.field("element", kind, nullable=False)


def as_they_are(rows: list[Any]) -> list[Any]:
    return rows


def as_lists(rows: list[Any]) -> list[Any]:
    return list(map(list, rows))


SCHEMAS: dict[str, Change] = {
    "large lists": with_column("input_ids", as_they_are, pa.large_list(required(pa.int32()))),
    "ids of 64 bits": with_column("input_ids", as_they_are, pa.list_(required(pa.int64()))),
    "ids of 16 bits": with_column("input_ids", as_they_are, pa.list_(required(pa.uint16()))),
    "ids are floats": with_column("input_ids", as_they_are, pa.list_(required(pa.float32()))),
    "ids are bytes": with_column("input_ids", b"1234", pa.binary()),
    "ids are texts": with_column("input_ids", "1 2 3", pa.string()),
    "an id is a number": with_column("input_ids", 7, pa.int32()),
    "ids are structs": with_column("input_ids", {"element": 7}, pa.struct([("element", pa.int32())])),
    "lists of lists": with_column(
        "input_ids", lambda rows: [[row] for row in rows], pa.list_(pa.list_(pa.int32()))
    ),
    "texts with a dictionary": with_column("input_ids", "a", pa.dictionary(pa.int32(), pa.string())),
    "lists may be null": with_column("input_ids", as_they_are, pa.list_(required(pa.int32())), True),
    "lists are null": with_column("input_ids", None, pa.list_(required(pa.int32())), True),
    "elements may be null": with_column("input_ids", as_they_are, pa.list_(pa.int32())),
    "elements are null": with_column("input_ids", [None, 1], pa.list_(pa.int32())),
    "masks of bools": with_column(
        "loss_mask",
        lambda rows: [[bool(each) for each in row] for row in rows],
        pa.list_(required(pa.bool_())),
    ),
    "masks of 32 bits": with_column("loss_mask", as_lists, pa.list_(required(pa.int32()))),
    "lists are null as masks": with_column("loss_mask", None, pa.list_(required(pa.uint8())), True),
    "masks are null": with_column("loss_mask", None, pa.binary(), True),
    "masks may be null": with_column("loss_mask", lambda rows: list(map(bytes, rows)), pa.binary(), True),
    "masks of large binaries": with_column(
        "loss_mask", lambda rows: list(map(bytes, rows)), pa.large_binary()
    ),
    "masks of views": with_column("loss_mask", lambda rows: list(map(bytes, rows)), pa.binary_view()),
    "masks of so many bytes": with_column("loss_mask", b"\1\0\1", pa.binary(3)),
    "masks are texts": with_column("loss_mask", "\1\0", pa.string()),
    "no mask": lambda batch: batch.drop_columns(["loss_mask"]),
    "no ids": lambda batch: batch.drop_columns(["input_ids"]),
    "no index": lambda batch: batch.drop_columns(["index"]),
    "index of 32 bits": with_column("index", as_they_are, pa.int32()),
    "a column more": lambda batch: batch.append_column("more", pa.array([1] * batch.num_rows)),
    "another order": lambda batch: batch.select(batch.schema.names[::-1]),
    "another spec": lambda batch: batch.replace_schema_metadata({"ostraca_spec_digest": "0" * 64}),
}
# The mask of the other format, by the manifest's.
OF_FORMAT: dict[int, dict[str, Change]] = {
    3: {"masks as of format 4": with_column("loss_mask", lambda rows: list(map(bytes, rows)), pa.binary())},
    4: {"masks as of format 3": with_column("loss_mask", as_lists, pa.list_(required(pa.uint8())))},
}
VALUES: dict[str, Change] = {
    "an empty mask": same_type("loss_mask", in_row(2, lambda row: [])),
    "empty masks": same_type("loss_mask", lambda rows: [[] for _ in rows]),
    "a short mask": same_type("loss_mask", in_row(2, lambda row: row[:-1])),
    "a long mask": same_type("loss_mask", in_row(0, lambda row: [*row, 1])),
    "masks of other rows": same_type("loss_mask", lambda rows: rows[1:] + rows[:1]),
    "a mask of 2": same_type("loss_mask", in_row(1, lambda row: [2, *row[1:]])),
    "a mask of 255": same_type("loss_mask", in_row(1, lambda row: [*row[:-1], 255])),
    "an id below 0": same_type("input_ids", in_row(1, lambda row: [-1, *row[1:]])),
    "an id of the least": same_type("input_ids", in_row(1, lambda row: [-(2**31), *row[1:]])),
    "an id too large": same_type("input_ids", in_row(1, lambda row: [*row[:-1], 2**31 - 1])),
    "index of other rows": same_type("index", lambda rows: [row + 1 for row in rows]),
    "index twice": same_type("index", lambda rows: [rows[0], *rows[:-1]]),
    "index backwards": same_type("index", lambda rows: rows[::-1]),
    "index below 0": same_type("index", lambda rows: [row - 2**40 for row in rows]),
    "a row less": lambda batch: batch.slice(1),
}
PACKED: dict[str, Change] = {
    "starts below 0": same_type("starts", in_row(1, lambda row: [0, *(-each for each in row[1:])])),
    "starts fall": same_type("starts", in_row(1, lambda row: [0, *row[1:][::-1]])),
    "starts alike": same_type("starts", in_row(1, lambda row: [0] * len(row))),
    "starts beyond the row": same_type("starts", in_row(1, lambda row: [*row[:-1], 2**30])),
    "starts at the row's end": same_type("starts", lambda rows: [[*row[:-1], 256] for row in rows]),
    "first start not 0": same_type("starts", in_row(0, lambda row: [1, *row[1:]])),
    "no starts": same_type("starts", in_row(2, lambda row: [])),
    "no starts at all": same_type("starts", lambda rows: [[] for _ in rows]),
    "empty rows": lambda batch: same_type("loss_mask", in_row(1, lambda row: []))(
        same_type("input_ids", in_row(1, lambda row: []))(batch)
    ),
    "rows too long": lambda batch: same_type("loss_mask", in_row(1, lambda row: row * 9))(
        same_type("input_ids", in_row(1, lambda row: row * 9))(batch)
    ),
    "index of no document": same_type("index", lambda rows: [10**9 for _ in rows]),
    "index falls": same_type("index", lambda rows: rows[::-1]),
}
DOCUMENTS: dict[str, Change] = {
    "documents of elsewhere": same_type("documents", in_row(1, lambda row: [*row[:-1], row[-1] + 10**6])),
    "a document less": same_type("documents", in_row(1, lambda row: row[:-1])),
    "another first document": same_type("documents", in_row(1, lambda row: [row[0] - 1, *row[1:]])),
}


def cases(changes: dict[str, Change], told_by: frozenset[str], root: Path) -> list[Case]:
    """Each change in the second row group of the first shard of train."""
    groups = groups_of(root)
    digest = groups[0].schema.metadata
    found = []
    for name, change in changes.items():
        whole = name in {**SCHEMAS, **OF_FORMAT[3], **OF_FORMAT[4]}  # a file has one schema
        forged = [change(each) if whole or at == 1 else each for at, each in enumerate(groups)]
        forged = [each.replace_schema_metadata(each.schema.metadata or digest) for each in forged]
        damage = partial(forge, batches=forged)
        found.append(Case(name=name, damage=damage, told_by=told_by))
    return found


@pytest.mark.parametrize("tail", [True, False])
def test_other_schemas(tmp_path: Path, tail: bool) -> None:
    root = small(tmp_path, tail)
    readers = READERS if tail else [LOAD, VERIFY]
    changes = {**SCHEMAS, **OF_FORMAT[4 if tail else 3]}
    try_all(root, cases(changes, ROW_READERS | {"verify"}, root), readers, tmp_path / "trials").check()


@pytest.mark.parametrize("tail", [True, False])
def test_impossible_values(tmp_path: Path, tail: bool) -> None:
    root = small(tmp_path, tail)
    readers = READERS if tail else [LOAD, EXPORT]
    try_all(root, cases(VALUES, ROW_READERS, root), readers, tmp_path / "trials").check()


def test_impossible_packed_rows(tmp_path: Path) -> None:
    root = build_small(tmp_path / "c", pack={"length": 256, "mode": "whole"})
    found = cases(PACKED, ROW_READERS, root)
    found += cases(DOCUMENTS, frozenset({"rows", "content"}), root)
    try_all(root, found, READERS, tmp_path / "trials").check()


@pytest.mark.parametrize("mode", ["left_aligned", "whole", "best_fit", "concat"])
@pytest.mark.parametrize("dedup", ["off", "drop"])
def test_packed_rows_as_they_are_pass(tmp_path: Path, mode: str, dedup: str) -> None:
    """Rows of every mode, documents that go on in the next row and dropped ones too."""
    root = build_small(tmp_path / "c", pack={"length": 200, "mode": mode}, dedup={"mode": dedup})
    assert CONTENT.read(root, tmp_path / "out") == "whole"
    assert LOAD.read(root, tmp_path / "out") == LOAD.read(root, tmp_path / "out")
    assert np.isfinite(len(BATCHES.read(root, tmp_path / "out")))
