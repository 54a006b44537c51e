"""`diff`: where two corpora differ, by their manifests; the first example that does, from their shards."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ...tasks.core.batch import rows_of, unragged
from ...tasks.errors import OstracaError
from ..corpus.fingerprint import ContentDigest
from ..corpus.manifest import read_manifest, spec_in
from ..corpus.manifest_checks import check_records
from ..corpus.reader import SplitReader
from ..corpus.records import records_of
from ..corpus.split import Split, SplitId
from ..spec.differences import NONE, Difference, in_sizes, in_spec
from ..store.folder import Folder
from ..store.open import open_folder

SHORT = 8  # values of a list that is shown whole


@dataclass(frozen=True, kw_only=True)
class Example:
    """The first example that differs, as both corpora have it: its columns, and the names of its ids."""

    dataset: str
    split: str
    index: int
    path: Mapping[str, Any]
    other: Mapping[str, Any]
    path_names: Mapping[int, str]
    other_names: Mapping[int, str]


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """How two corpora compare."""

    same: bool  # the examples are: the content digests are equal
    differences: tuple[Difference, ...]
    example: Example | None  # the first that differs; None where the content is the same or none was found
    notes: tuple[str, ...]  # what there is to say of the search for it
    content_digest: str  # of the corpus at `path`


@dataclass(frozen=True, kw_only=True)
class _Corpus:
    root: Folder
    manifest: Mapping[str, Any]
    spec: Mapping[str, Any]
    records: Mapping[SplitId, list[dict[str, Any]]]  # in the plan's order
    digests: Mapping[SplitId, ContentDigest]

    def reader(self, part: SplitId) -> SplitReader:
        return SplitReader(
            self.root, Split.of(self.spec, *part), self.manifest["spec_digest"], self.records[part]
        )

    def split(self, part: SplitId) -> Mapping[str, Any]:
        entry: Mapping[str, Any] = self.spec["datasets"][part[0]]["splits"][part[1]]
        return entry


def compare(path: Path | str, other: Path | str) -> Comparison:
    """Compare two corpora by their manifests; shards are read only to find the first differing example.

    Of these, none whose content digests are equal, however the two are cut into shards. OstracaError where a
    manifest cannot be read or believed.
    """
    left, right = _open(path), _open(other)
    total = sum(left.digests.values(), ContentDigest())
    same = total == sum(right.digests.values(), ContentDigest())
    example, notes = (None, []) if same else _first_example(left, right)
    return Comparison(
        same=same,
        differences=tuple(_differences(left, right)),
        example=example,
        notes=tuple(notes),
        content_digest=str(total),
    )


def _open(path: Path | str) -> _Corpus:
    root = open_folder(path)
    manifest = read_manifest(root)
    problems = check_records(manifest)
    if problems:
        raise OstracaError(f"{root}/{problems[0]}; restore the manifest or build the corpus again")
    records: dict[SplitId, list[dict[str, Any]]] = {}
    digests: dict[SplitId, ContentDigest] = {}
    for split, record in records_of(manifest):
        part = (record["dataset"], split)
        records.setdefault(part, []).append(record)
        before = digests.get(part, ContentDigest())
        digests[part] = before + ContentDigest.parse(record["content_digest"])
    return _Corpus(
        root=root, manifest=manifest, spec=spec_in(root, manifest), records=records, digests=digests
    )


def _differences(left: _Corpus, right: _Corpus) -> Iterator[Difference]:
    yield from in_spec(left.manifest["spec"], right.manifest["spec"])
    parts = [*left.records, *(part for part in right.records if part not in left.records)]
    for part in parts:
        where = "/".join(part)
        if part not in left.records or part not in right.records:
            sides = [NONE if part not in side.records else _extent(side, part) for side in (left, right)]
            yield Difference(what="split", where=where, path=sides[0], other=sides[1])
            continue
        yield from in_sizes(where, left.split(part), right.split(part))
        if left.digests[part] != right.digests[part]:
            a, b = (f"{str(side.digests[part])[:16]}…" for side in (left, right))
            yield Difference(what="content", where=where, path=a, other=b)
    yield from _in_files(left, right, parts)
    versions = [str(side.manifest["format_version"]) for side in (left, right)]
    if versions[0] != versions[1]:
        yield Difference(what="made with", where="manifest format", path=versions[0], other=versions[1])
    for name in ("python", *left.manifest["libraries"]):
        cells = [
            side.manifest["python"] if name == "python" else side.manifest["libraries"].get(name)
            for side in (left, right)
        ]
        if cells[0] != cells[1]:
            sides = [str(cell or NONE) for cell in cells]
            yield Difference(what="made with", where=name, path=sides[0], other=sides[1])


def _extent(corpus: _Corpus, part: SplitId) -> str:
    tokens = sum(record["tokens"] for record in corpus.records[part])
    return f"{corpus.split(part)['examples']:,} examples, {tokens:,} tokens"


def _in_files(left: _Corpus, right: _Corpus, parts: Sequence[SplitId]) -> Iterator[Difference]:
    """Shards, split by split, that the other corpus has not byte for byte; and the files beside them."""
    for part in parts:
        if part not in left.records or part not in right.records:
            continue
        hashes = [
            {(record["path"], record["sha256"]) for record in side.records[part]} for side in (left, right)
        ]
        if hashes[0] != hashes[1]:
            sides = [f"{len(own - its):,} of {len(own):,} shards" for own, its in (hashes, reversed(hashes))]
            yield Difference(what="files", where="/".join(part), path=sides[0], other=sides[1])
    files = [{file["path"]: file for file in side.manifest["files"]} for side in (left, right)]
    for path in sorted(files[0] | files[1]):
        a, b = (side.get(path) for side in files)
        if a != b:
            sides = [NONE if record is None else f"sha256 {record['sha256'][:16]}…" for record in (a, b)]
            yield Difference(what="files", where=path, path=sides[0], other=sides[1])


def _first_example(left: _Corpus, right: _Corpus) -> tuple[Example | None, list[str]]:
    """The first example that differs, of the first split that has one; and what the search has to tell."""
    notes = []
    for part in left.records:
        if part not in right.records or left.digests[part] == right.digests[part]:
            continue
        where = "/".join(part)
        try:
            differing = _first_row(left, right, part)
        except OstracaError as error:
            notes.append(f"{where}: the first example that differs cannot be shown: {error}")
            continue
        if differing is not None:
            index, *rows = differing
            a, b = ({} if row is None else rows_of(row)[0] for row in rows)
            return Example(
                dataset=part[0],
                split=part[1],
                index=index,
                path=a,
                other=b,
                path_names=_names(left, part),
                other_names=_names(right, part),
            ), notes
        counts = [side.split(part)["examples"] for side in (left, right)]
        if counts[0] != counts[1]:
            longer = "path" if counts[0] > counts[1] else "other"
            notes.append(
                f"{where}: the first {min(counts):,} examples are equal; "
                f"example {min(counts):,} and those after it are in {longer} alone"
            )
        else:
            notes.append(
                f"{where}: every row is equal, but not its address (task, version, config, seed), "
                "of which the content digest is too"
            )
    return None, notes


def _names(corpus: _Corpus, part: SplitId) -> Mapping[int, str]:
    """id -> name of a split's tokens; none where the tasks installed here do not know its config."""
    try:
        return Split.of(corpus.spec, *part).token_names()
    except (OstracaError, KeyError, TypeError, ValueError):
        return {}


def _first_row(
    left: _Corpus, right: _Corpus, part: SplitId
) -> tuple[int, pa.RecordBatch | None, pa.RecordBatch | None] | None:
    """The first row of a split that differs: index and both sides, None of the one that has not this example.

    None where all that both have are equal.
    """
    for first, last in unequal_ranges(left.records[part], right.records[part]):
        sides = [_within(side.reader(part), first, last) for side in (left, right)]
        a, b = (next(side, None) for side in sides)
        while a is not None and b is not None:
            count = min(a.num_rows, b.num_rows)
            row = differing_row(a.slice(0, count), b.slice(0, count))
            if row is not None:
                return _as_found(a.slice(row, 1), b.slice(row, 1))
            a, b = (
                side.slice(count) if side.num_rows > count else next(reader, None)
                for side, reader in zip((a, b), sides, strict=True)
            )
        if a is not None or b is not None:
            return _as_found(*(None if side is None else side.slice(0, 1) for side in (a, b)))
    return None


def _within(reader: SplitReader, first: int, last: int) -> Iterator[pa.RecordBatch]:
    """The rows of examples first..last-1, in pieces."""
    for batch in reader.rows_from(first, last - first):
        rows = batch.slice(0, int(np.searchsorted(batch.column("index").to_numpy(), last)))
        if rows.num_rows:
            yield rows
        if rows.num_rows < batch.num_rows:
            return


def _as_found(
    left: pa.RecordBatch | None, right: pa.RecordBatch | None
) -> tuple[int, pa.RecordBatch | None, pa.RecordBatch | None]:
    """Two rows at the same place; where they are of different examples the first is in one corpus alone."""
    indices = [None if side is None else side.column("index")[0].as_py() for side in (left, right)]
    index = min(index for index in indices if index is not None)
    return index, left if indices[0] == index else None, right if indices[1] == index else None


def unequal_ranges(
    left: Sequence[Mapping[str, Any]], right: Sequence[Mapping[str, Any]]
) -> list[tuple[int, int]]:
    """Ranges [first, last) of rows that may differ, ascending, by the digests of two splits' shards.

    Between two places where both have a shard's edge the digests of their shards add up to the same exactly
    where the rows are the same; what lies behind the last such place is in no sum.
    """
    (a_ends, a), (b_ends, b) = _running(left), _running(right)
    edges, in_a, in_b = np.intersect1d(a_ends, b_ends, assume_unique=True, return_indices=True)
    differ = (np.diff(a[in_a], axis=0) != np.diff(b[in_b], axis=0)).any(axis=1)
    ranges = [(int(edges[at]), int(edges[at + 1])) for at in np.flatnonzero(differ)]
    shared = int(min(a_ends[-1], b_ends[-1]))
    return [*ranges, (int(edges[-1]), shared)] if edges[-1] < shared else ranges


def _running(records: Sequence[Mapping[str, Any]]) -> tuple[NDArray[np.int64], NDArray[np.uint64]]:
    """Edges of shards int64 [shards + 1], and the lanes of all rows before each uint64 [shards + 1, 2]."""
    ends = np.cumsum([0, *(record["count"] for record in records)], dtype=np.int64)
    lanes = [(0, 0), *(ContentDigest.parse(record["content_digest"]).lanes for record in records)]
    return ends, np.cumsum(np.array(lanes, dtype=np.uint64), axis=0, dtype=np.uint64)


def differing_row(left: pa.RecordBatch, right: pa.RecordBatch) -> int | None:
    """The first row in which two batches of as many rows differ; 0 where they have not the same columns."""
    types = [{field.name: field.type for field in side.schema} for side in (left, right)]
    if types[0] != types[1]:
        return 0
    row = min(_differing(left.column(name), right.column(name)) for name in types[0])
    return row if row < left.num_rows else None


def _differing(left: pa.Array, right: pa.Array) -> int:
    """The first row in which two columns of one type differ; their length where none does."""
    if not (pa.types.is_list(left.type) or pa.types.is_string(left.type)):
        return _first(left.to_numpy() != right.to_numpy())
    a, a_offsets = unragged(left)
    b, b_offsets = unragged(right)
    row = _first(np.diff(a_offsets) != np.diff(b_offsets))  # before it all rows have the same lengths
    begin, end = a_offsets[0], a_offsets[row]
    unequal = a[begin:end] != b[b_offsets[0] : b_offsets[row]]
    place = _first(unequal)
    if place < len(unequal):
        row = int(np.searchsorted(a_offsets, begin + place, side="right")) - 1
    return row


def _first(flags: NDArray[np.bool_]) -> int:
    """The first place that is set; the length where none is."""
    place = int(flags.argmax()) if len(flags) else 0
    return place if len(flags) and flags[place] else len(flags)
