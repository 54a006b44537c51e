"""Promise 2: the content digest is of the logical content alone, and parts add up."""

from __future__ import annotations

import struct
from functools import reduce
from itertools import pairwise
from operator import add
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles.siphash import siphash128

from ostraca.pipeline.corpus.fingerprint import ContentDigest, content_digest
from ostraca.tasks import get_task
from ostraca.tasks.core.rng import stream_key
from ostraca.tasks.errors import OstracaError

TASK = get_task("depo")
CONFIG = TASK.check({"N": 12, "K": 4, "M": 3})
KEY = stream_key("depo", 1, CONFIG, 5, "train")
ROWS = TASK.generate(CONFIG, KEY, np.arange(100, 140))


def oracle(batch: pa.RecordBatch, key: Any) -> ContentDigest:
    """The digest from its definition: plain Python, one row at a time."""
    lanes = [0, 0]
    for row in batch.to_pylist():
        words = struct.pack("<2Q", *map(int, key)) + struct.pack("<Qq", 1, row.pop("index"))
        for name in sorted(row):
            values = row[name] if isinstance(row[name], list) else [row[name]]
            data_type = batch.schema.field(name).type
            code = "<B" if pa.types.is_list(data_type) and data_type.value_type == pa.uint8() else "<i"
            data = b"".join(struct.pack(code, value) for value in values)
            words += struct.pack("<Q", len(values)) + data.ljust(-(-len(data) // 8) * 8, b"\0")
        for lane, half in enumerate(siphash128(b"ostraca content1", words)):
            lanes[lane] = (lanes[lane] + half) % 2**64
    return ContentDigest((lanes[0], lanes[1]))


def test_the_oracle_gives_the_published_vectors() -> None:
    """Of the reference code: key 00..0f, messages of 0 and 1 bytes."""
    key = bytes(range(16))
    for message, wanted in (
        (b"", "a3817f04ba25a8e66df67214c7550293"),
        (b"\0", "da87c1d86b99af44347659119b22fc45"),
    ):
        assert struct.pack("<2Q", *siphash128(key, message)).hex() == wanted


def test_equals_the_definition() -> None:
    assert content_digest(ROWS, KEY) == oracle(ROWS, KEY)


def test_golden() -> None:
    """If this changes, every manifest ever written fails to verify: raise the format version instead."""
    assert str(content_digest(ROWS, KEY)) == "8f5d3a87243d78290b2b78a18adb114c"


@given(st.permutations(range(ROWS.num_rows)), st.lists(st.integers(0, ROWS.num_rows), max_size=6))
@settings(max_examples=50, deadline=None)
def test_parts_add_up_in_any_order(order: list[int], cuts: list[int]) -> None:
    shuffled = ROWS.take(pa.array(order))
    bounds = [0, *sorted(cuts), ROWS.num_rows]
    parts = [content_digest(shuffled.slice(start, stop - start), KEY) for start, stop in pairwise(bounds)]
    assert reduce(add, parts, ContentDigest()) == content_digest(ROWS, KEY)


def test_the_order_of_columns_does_not_matter() -> None:
    assert content_digest(ROWS.select(ROWS.schema.names[::-1]), KEY) == content_digest(ROWS, KEY)


def test_any_change_of_any_column_changes_it() -> None:
    whole = content_digest(ROWS, KEY)
    rows = ROWS.to_pylist()
    seen = {whole}
    for name in ROWS.schema.names:
        changed = [dict(row) for row in rows]
        value = changed[7][name]
        changed[7][name] = [*value[:-1], value[-1] ^ 1] if isinstance(value, list) else value + 1
        seen.add(content_digest(pa.RecordBatch.from_pylist(changed, schema=ROWS.schema), KEY))
    assert len(seen) == 1 + len(ROWS.schema.names)


def test_it_is_tied_to_the_address() -> None:
    """The same tokens at another index, or of another stream, are another content."""
    whole = content_digest(ROWS, KEY)
    other = stream_key("depo", 1, CONFIG, 6, "train")
    assert content_digest(ROWS, other) != whole
    place = ROWS.schema.get_field_index("index")
    indices = ROWS.column("index").to_numpy().copy()
    indices[[3, 4]] = indices[[4, 3]]
    swapped = ROWS.set_column(place, ROWS.schema.field("index"), pa.array(indices))
    assert content_digest(swapped, KEY) != whole


def test_values_cannot_move_between_rows_or_columns() -> None:
    """The last token of a row cannot become the first of the next without being noticed."""
    rows = ROWS.to_pylist()
    rows[1]["input_ids"] = [rows[0]["input_ids"][-1], *rows[1]["input_ids"]]
    rows[0]["input_ids"] = rows[0]["input_ids"][:-1]
    moved = pa.RecordBatch.from_pylist(rows, schema=ROWS.schema)
    assert content_digest(moved, KEY) != content_digest(ROWS, KEY)


def test_text_and_back() -> None:
    digest = content_digest(ROWS, KEY)
    assert ContentDigest.parse(str(digest)) == digest
    for wrong in ("", "xyz", "0" * 31, "g" * 32):
        with pytest.raises(OstracaError, match="not a content digest"):
            ContentDigest.parse(wrong)
