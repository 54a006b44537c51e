"""What must hold of rows that were read before anything believes them: their schema, and their values.

A kernel that reads tokens does not look where it reads: lengths, ids and starts are checked here, once for
every row group, by a pass over whole columns.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ...tasks.core.batch import unragged
from ...tasks.errors import OstracaError


def check_schema(held: pa.Schema, wanted: pa.Schema) -> None:
    """OstracaError where columns have other names, types or may be null otherwise than they must."""
    if held.equals(wanted):
        return
    names, known = held.names, wanted.names
    for name in known:
        if names.count(name) != 1:
            raise OstracaError(f"has {names.count(name)} columns {name}, its spec asks for one")
    for name in names:
        if name not in known:
            raise OstracaError(f"has a column {name[:80]!r}, its spec has none")
    for name in known:
        if held.field(name) != wanted.field(name):
            sides = (_shown(schema.field(name)) for schema in (held, wanted))
            raise OstracaError("its column {} is {}, its spec asks for {}".format(name, *sides))
    raise OstracaError("its columns are not in the order of its spec")


def _shown(field: pa.Field) -> str:
    kind = " ".join(str(field.type).split())
    return (kind if len(kind) <= 60 else f"{kind[:57]}...") + ("" if field.nullable else " not null")


def check_rows(
    batch: pa.RecordBatch,
    index: NDArray[np.int64],
    vocab_size: int | None,
    pack_length: int | None,
) -> None:
    """OstracaError where values of a row group are impossible.

    index: int64 [examples], of the examples that it holds, ascending: the rows' own or, of packed rows, their
    documents'. vocab_size: of its `input_ids`. pack_length: the most tokens of a packed row; None where a
    row is an example. `index` must be in the batch; other columns are looked at where they are.
    """
    batch.validate(full=True)
    if any(column.null_count for column in batch.columns):
        raise OstracaError("holds nulls")
    names = batch.schema.names
    own = batch.column("index").to_numpy()
    if pack_length is None:
        if not np.array_equal(own, index):
            raise OstracaError("its rows are not the examples that the manifest says")
    elif (np.diff(own) < 0).any() or not _among(own, index):
        raise OstracaError("its rows begin with different documents than the manifest says")
    if "input_ids" in names:
        ids, offsets = _whole(batch.column("input_ids"))
        # Seen as unsigned, what is below 0 is large.
        if len(ids) and vocab_size is not None and int(ids.view(np.uint32).max()) >= vocab_size:
            raise OstracaError(f"holds ids that its spec does not have (0..{vocab_size - 1})")
        lengths = np.diff(offsets)
        if pack_length is not None and len(lengths) and lengths.max() > pack_length:
            raise OstracaError(f"a packed row has {lengths.max()} tokens, its spec allows {pack_length}")
        if "loss_mask" in names:
            mask, mask_offsets = _whole(batch.column("loss_mask"))
            if not np.array_equal(np.diff(mask_offsets), lengths):
                raise OstracaError("a row's loss_mask is not as long as its input_ids")
            if len(mask) and mask.max() > 1:
                raise OstracaError("holds loss_mask values other than 0 and 1")
        if pack_length is not None and "starts" in names:
            _check_starts(batch, lengths)
    if pack_length is not None and "documents" in names:
        documents, offsets = _whole(batch.column("documents"))
        if (np.diff(offsets) < 1).any() or not np.array_equal(documents[offsets[:-1] - offsets[0]], own):
            raise OstracaError("a packed row's index is not that of its first document")
        if not _rise(documents, offsets) or not _among(documents, index):
            raise OstracaError("its rows hold different documents than the manifest says")


def _check_starts(batch: pa.RecordBatch, lengths: NDArray[np.int32]) -> None:
    """OstracaError where documents do not begin at 0 and then ever later, within their row."""
    starts, offsets = _whole(batch.column("starts"))
    counts = np.diff(offsets)
    sound = not len(counts) or bool(counts.min() > 0 and lengths.min() > 0)
    if sound and len(counts):
        first, last = offsets[:-1] - offsets[0], offsets[1:] - offsets[0] - 1
        sound = not starts[first].any() and bool((starts[last] < lengths).all()) and _rise(starts, offsets)
    if not sound:
        raise OstracaError("a packed row's starts are not places in it that rise from 0")
    if "documents" in batch.schema.names:
        if not np.array_equal(np.diff(unragged(batch.column("documents"))[1]), counts):
            raise OstracaError("a packed row has not as many starts as documents")


def _rise(values: NDArray[Any], offsets: NDArray[np.int32]) -> bool:
    """Whether the values of each list rise strictly."""
    steps = np.diff(values) > 0
    firsts = offsets[1:-1] - offsets[0] - 1  # the steps from one list to the next, where lists have values
    steps[firsts[(firsts >= 0) & (firsts < len(steps))]] = True
    return bool(steps.all())


def _among(values: NDArray[np.int64], known: NDArray[np.int64]) -> bool:
    """Whether all values are among `known`, which is ascending."""
    if not len(values):
        return True
    if not len(known):
        return False
    places = np.minimum(np.searchsorted(known, values), len(known) - 1)
    return bool((known[places] == values).all())


def _whole(array: pa.ListArray) -> tuple[NDArray[Any], NDArray[np.int32]]:
    """The values of exactly these rows, and their offsets."""
    values, offsets = unragged(array)
    return values[offsets[0] : offsets[-1]], offsets
