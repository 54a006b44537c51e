"""Ways to damage shards, and to forge them with a manifest that fits, as an attacker would."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from conftest import make_spec
from harness.hostile import Case, Reader, ToldError

from ostraca.loaders import CorpusSource, TokenStream
from ostraca.pipeline.build.build import build
from ostraca.pipeline.check.duplicates import find_in_corpus
from ostraca.pipeline.check.verify import verify
from ostraca.pipeline.corpus.formats.parquet_mask import unstored
from ostraca.pipeline.corpus.manifest import read_manifest, records_of, spec_in, write_manifest
from ostraca.pipeline.corpus.numbers import decode_numbers, encode_numbers
from ostraca.pipeline.corpus.reader import split_reader
from ostraca.pipeline.corpus.row_groups import DIGEST_BYTES, TABLE, GroupedFile, Tail
from ostraca.pipeline.corpus.split import Split
from ostraca.pipeline.export.export import export

EVERY_FORMAT: dict[str, dict[str, Any]] = {
    "parquet": {},
    "parquet packed": {"pack": {"length": 256, "mode": "whole"}},
    "tar": {"format": "webdataset"},
    "tar packed": {"format": "webdataset", "pack": {"length": 256, "mode": "whole"}},
    "tar.zst": {"format": "webdataset", "compression": "zstd"},
}

AS_OSTRACA: dict[str, Any] = {"compression": "zstd", "use_dictionary": False}  # how Parquet is written


def build_small(root: Path, seed: int = 0, **extra: Any) -> Path:
    """Four shards of train, each of some row groups, and one of test."""
    spec = make_spec(train=400, test=30, seed=seed, shard_tokens=9_000, **extra)
    # With few ids, `verify` has few names to write.
    build({**spec, "row_group_tokens": 1_800, "vocabulary": "shared"}, root, engine="local")
    return root


def without_tails(root: Path, copy: Path) -> Path:
    """The corpus as it was written before there were tails, with a manifest of format 3.

    Masks in Parquet are lists then; of tars the manifest has where row groups end.
    """
    shutil.copytree(root, copy)
    manifest = read_manifest(copy)
    manifest["format_version"] = 3
    for split, record in records_of(manifest):
        path = copy / record["path"]
        if path.suffix == ".parquet":
            file = pq.ParquetFile(path)
            groups = [file.read_row_group(group) for group in range(file.num_row_groups)]
            own = {"ostraca_spec_digest": manifest["spec_digest"]}
            batches = [unstored(group.combine_chunks().to_batches()[0]) for group in groups]
            own_batches = [batch.replace_schema_metadata(own) for batch in batches]
            _write(path, own_batches, [0] * len(batches), write_page_checksum=True)
            fit(manifest, record, path, "", split)
        else:
            record["group_ends"] = encode_numbers(table_of(path, record).ends)
        del record["group_tokens"]
        record.pop("tail", None)
    write_manifest(copy, manifest)
    return copy


def small(tmp_path: Path, tail: bool = True, **extra: Any) -> Path:
    """A small corpus of today, or one from before there were tails."""
    root = build_small(tmp_path / "c", **extra)
    return root if tail else without_tails(root, tmp_path / "old")


def table_of(path: Path, record: dict[str, Any]) -> Any:
    """The table of row groups in a shard's file."""
    from ostraca.pipeline.corpus.formats.webdataset import table_of
    from ostraca.pipeline.corpus.row_groups import RowGroups

    start = int(record["tail"].partition(":")[0])
    if path.suffix == ".parquet":
        return RowGroups.parse(pq.read_metadata(path).metadata[TABLE.encode()].decode(), start)
    return RowGroups.parse(table_of(path.read_bytes()[start:], TABLE), start)


# ---- readers


def digest(*arrays: Any) -> str:
    found = hashlib.sha256()
    for array in arrays:
        found.update(np.ascontiguousarray(array).tobytes())
    return found.hexdigest()


def _loaded(root: Path, out: Path) -> str:
    source = CorpusSource(root, source="shards")
    parts: list[Any] = []
    for block in range(len(source.blocks(tokens=True).rows)):
        rows = source.read([block])
        parts += [rows.tokens, np.diff(rows.offsets), rows.mask]
        parts += [] if rows.starts is None else [rows.starts]
    return digest(*parts)


def _batches(root: Path, out: Path) -> str:
    source = CorpusSource(root, source="shards")
    length = None if source.row_length else 256
    stream = TokenStream(source, batch_size=4, length=length, epochs=1, window_blocks=3)
    return digest(*(batch[name] for batch in stream for name in sorted(batch)))


def _rows(root: Path, out: Path) -> str:
    manifest = read_manifest(root)
    spec = spec_in(root, manifest)
    found = hashlib.sha256()
    for split in manifest["splits"]:
        for _, batch in split_reader(root, manifest, Split.of(spec, "small", split)).batches():
            sink = pa.BufferOutputStream()
            with pa.ipc.new_stream(sink, batch.schema) as stream:
                stream.write_batch(batch)
            found.update(sink.getvalue())
    return found.hexdigest()


def _exported(root: Path, out: Path) -> dict[str, str]:
    export(root, "megatron", out)
    files = [path for path in out.rglob("*") if path.is_file() and path.name != "export.json"]
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def _verified(content: bool, root: Path, out: Path) -> str:
    problems = verify(root, content=content)
    if problems:
        assert all("\n" not in problem for problem in problems), problems
        raise ToldError("\n".join(problems))
    return "whole"


LOAD = Reader(name="load", read=_loaded)
BATCHES = Reader(name="batches", read=_batches)
ROWS = Reader(name="rows", read=_rows)
EXPORT = Reader(name="export", read=_exported)
DUPLICATES = Reader(name="duplicates", read=lambda root, out: str(find_in_corpus(root)))
VERIFY = Reader(name="verify", read=partial(_verified, False))
CONTENT = Reader(name="content", read=partial(_verified, True))


# ---- damage to files alone


def shards_of(root: Path, split: str = "") -> list[Path]:
    """The shards of a split, or of all, in the order of their names."""
    suffixes = (".parquet", ".tar", ".zst")
    return sorted(path for path in root.rglob(f"{split}*") if path.suffix in suffixes)


def _rewrite(path: Path, change: Callable[[bytearray], bytes | bytearray]) -> None:
    path.write_bytes(change(bytearray(path.read_bytes())))


def flip(number: int, place: int, bit: int, root: Path) -> None:
    """One bit of a shard."""

    def change(data: bytearray) -> bytearray:
        data[place] ^= 1 << bit
        return data

    _rewrite(shards_of(root)[number], change)


def flips(corpus: Path, count: int, seed: int = 0) -> Iterator[Case]:
    """Single bits: half anywhere, half where a file says what is in it, headers, heads of pages and tails."""
    rng = np.random.default_rng(seed)
    paths = shards_of(corpus)
    records = {record["path"]: record for _, record in records_of(read_manifest(corpus))}
    for number in range(count):
        shard = int(rng.integers(len(paths)))
        path = paths[shard]
        size = path.stat().st_size
        place = int(rng.integers(size))
        if number % 2:
            record = records[str(path.relative_to(corpus))]
            start = int(record["tail"].partition(":")[0]) if "tail" in record else size - 2_000
            heads = _heads(path)
            place = int(rng.choice(heads)) + int(rng.integers(40)) if number % 4 == 1 else start
            place += int(rng.integers(size - start)) if number % 4 == 3 else 0
        place, bit = min(place, size - 1), int(rng.integers(8))
        yield Case(
            name=f"bit {bit} of byte {place} of {path.name}",
            damage=partial(flip, shard, place, bit),
            told_by=frozenset({"verify", "content"}),
        )


def _heads(path: Path) -> list[int]:
    """Where the column chunks of a Parquet file begin, and the members of a tar."""
    if path.suffix != ".parquet":
        return list(range(0, path.stat().st_size, 512))
    footer = pq.read_metadata(path)
    return [
        footer.row_group(group).column(column).data_page_offset
        for group in range(footer.num_row_groups)
        for column in range(footer.num_columns)
    ]


def _swap(first: int, second: int, root: Path) -> None:
    paths = shards_of(root, "train")
    a, b = paths[first].read_bytes(), paths[second].read_bytes()
    paths[first].write_bytes(b)
    paths[second].write_bytes(a)


def _swap_row_groups(first: int, second: int, root: Path) -> None:
    """The bytes of two row groups of a shard change places."""
    path = shards_of(root, "train")[0]
    records = {record["path"]: record for _, record in records_of(read_manifest(root))}
    record = records[str(path.relative_to(root))]
    ends = [0, *table_of(path, record).ends.tolist()]
    data = path.read_bytes()
    pieces = [data[a:b] for a, b in zip(ends, [*ends[1:], len(data)], strict=True)]
    pieces[first], pieces[second] = pieces[second], pieces[first]
    path.write_bytes(b"".join(pieces))


def _over(first: int, second: int, root: Path) -> None:
    paths = shards_of(root, "train")
    shutil.copyfile(paths[first], paths[second])


def _from(other: Path, number: int, root: Path) -> None:
    path = shards_of(root, "train")[number]
    shutil.copyfile(other / path.relative_to(root), path)


def _of_train(number: int, change: Callable[[bytearray], bytes | bytearray], root: Path) -> None:
    _rewrite(shards_of(root, "train")[number], change)


def replaced(other: Path, tails: bool = True) -> Iterator[Case]:
    """Whole shards and row groups where they do not belong. other: the corpus of another seed."""
    told = frozenset({"verify", "content"})
    pairs = [(0, 1), (1, 2), (0, 2)]
    damage: dict[str, Callable[[Path], None]] = {}
    for a, b in pairs:
        damage[f"shards {a} and {b} swapped"] = partial(_swap, a, b)
        damage[f"shard {a} over shard {b}"] = partial(_over, a, b)
        if tails:  # else only the bounds in a footer or in the manifest say where they are
            damage[f"row groups {a} and {b} swapped"] = partial(_swap_row_groups, a, b)
    for number in (0, 2):
        damage[f"shard {number} of another seed"] = partial(_from, other, number)
    for count in (1, 8, 600, 5_000):
        damage[f"{count} bytes cut off"] = partial(_of_train, 1, lambda data, n=count: data[:-n])
        damage[f"{count} bytes too many"] = partial(_of_train, 1, lambda data, n=count: data + bytes(n))
    damage["nothing left"] = partial(_of_train, 1, lambda data: b"")
    damage["all zero"] = partial(_of_train, 1, lambda data: bytes(len(data)))
    damage["another file"] = partial(_of_train, 1, lambda data: (b"<html>" * len(data))[: len(data)])
    damage["gone"] = lambda root: shards_of(root, "train")[1].unlink()
    for name, each in damage.items():
        yield Case(name=name, damage=each, told_by=told)


# ---- shards that were forged, with a manifest that fits


def forge(root: Path, batches: Sequence[pa.RecordBatch], *, number: int = 0, **options: Any) -> None:
    """Write other row groups to a Parquet shard of train; the manifest fits them, whichever its format.

    options: of the writer, which writes as ostraca does where they say nothing.
    """
    manifest = read_manifest(root)
    record = manifest["splits"]["train"]["shards"][number]
    path = root / record["path"]
    tokens = decode_numbers(record.get("group_tokens", ""), len(batches)).tolist() or [0] * len(batches)
    if "group_tokens" in record:
        tokens = [_tokens(batch, said) for batch, said in zip(batches, tokens, strict=True)]
        record["group_tokens"] = encode_numbers(np.array(tokens))
        more = sum(tokens) - record["tokens"]
        for sums in (record, manifest["splits"]["train"], manifest["totals"]):
            sums["tokens"] += more
    end = _write(path, batches, tokens, **options)
    fit(manifest, record, path, str(end) if "group_tokens" in record else "")
    (root / "manifest.json").write_text(json.dumps(manifest))


def _write(path: Path, batches: Sequence[pa.RecordBatch], tokens: Sequence[int], **options: Any) -> Tail:
    with open(path, "wb") as file:
        grouped = GroupedFile(file)
        schema = batches[0].schema
        ids = schema.get_field_index("input_ids")
        if ids >= 0 and schema.field(ids).type == pa.list_(pa.field("element", pa.int32(), nullable=False)):
            split = {"input_ids.list.element": "BYTE_STREAM_SPLIT"}
            options = {**options, "column_encoding": {**split, **options.get("column_encoding", {})}}
        if options.get("use_dictionary"):
            del options["column_encoding"]
        with pq.ParquetWriter(grouped, schema, **{**AS_OSTRACA, **options}) as writer:
            for batch, own in zip(batches, tokens, strict=True):
                writer.write_batch(batch.replace_schema_metadata(schema.metadata))
                grouped.end_group(batch.num_rows, own)
            writer.add_key_value_metadata({TABLE: str(grouped.row_groups)})
        return grouped.end()


def _tokens(batch: pa.RecordBatch, said: int) -> int:
    """The tokens of a row group; where it has no lists of them, what was said of it."""
    lists = batch.schema.get_field_index("input_ids")
    if lists < 0 or not pa.types.is_list(batch.schema.field(lists).type):
        return said
    return int(sum(map(len, filter(None, batch.column(lists).to_pylist()))))


def forge_bytes(root: Path, change: Callable[[bytearray], object]) -> None:
    """Change the bytes of train's first shard, a Parquet file, from its footer on; the manifest fits them."""
    manifest = read_manifest(root)
    record = manifest["splits"]["train"]["shards"][0]
    path = root / record["path"]
    data = bytearray(path.read_bytes())
    change(data)
    path.write_bytes(data)
    tail = ""
    if "tail" in record:
        start = int(record["tail"].partition(":")[0])
        tail = str(Tail(start=start, digest=hashlib.sha256(bytes(data[start:])).digest()[:DIGEST_BYTES]))
    fit(manifest, record, path, tail)
    (root / "manifest.json").write_text(json.dumps(manifest))


def fit(
    manifest: dict[str, Any], record: dict[str, Any], path: Path, tail: str, split: str = "train"
) -> None:
    """Let the manifest say of a shard's file what it is now."""
    data = path.read_bytes()
    grown = len(data) - record["bytes"]
    record.update(bytes=len(data), sha256=hashlib.sha256(data).hexdigest())
    record.pop("tail", None)
    if tail:
        record["tail"] = tail
    manifest["splits"][split]["bytes"] += grown
    manifest["totals"]["bytes"] += grown


def groups_of(root: Path, number: int = 0) -> list[pa.RecordBatch]:
    """The row groups of a Parquet shard of train as in the file, the spec's digest in their metadata."""
    file = pq.ParquetFile(shards_of(root, "train")[number])
    groups = (file.read_row_group(group) for group in range(file.num_row_groups))
    own = {"ostraca_spec_digest": read_manifest(root)["spec_digest"]}
    return [group.replace_schema_metadata(own).combine_chunks().to_batches()[0] for group in groups]
