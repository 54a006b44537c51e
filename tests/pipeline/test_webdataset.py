"""WebDataset shards: real readers find what was written, and our reader gives it back."""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from small_shards import (
    COMPRESSIONS,
    CONFIGS,
    DIGEST,
    END,
    INDEX,
    TOKENS,
    groups_of,
    made,
    packed_rows,
    shard,
)

from ostraca.pipeline.corpus.formats.webdataset import WebDatasetShardWriter
from ostraca.pipeline.corpus.formats.webdataset_reader import most_bytes, read_group
from ostraca.pipeline.corpus.packed import PACKED_SCHEMA
from ostraca.tasks import TASKS, examples, get_task
from ostraca.tasks.base import vocab_size
from ostraca.tasks.core.batch import column, dtype_of, list_type
from ostraca.tasks.core.kernels import CACHE_FOLDER
from ostraca.tasks.errors import ConfigError, OstracaError


def expected_members(batch: pa.RecordBatch, id_type: str) -> list[tuple[str, bytes]]:
    """What the module's description says of a row group, made by plain Python, NumPy's save and json."""
    rows, members = batch.to_pylist(), []
    has_mask = "loss_mask" in batch.schema.names
    all_count = has_mask and all(set(row["loss_mask"]) <= {1} for row in rows)
    for row in rows:
        key = f"{row['index']:012d}" + (f"-{row['offset']:010d}" if "offset" in row else "")
        if "input_ids" in row:
            members.append((f"{key}.input_ids.npy", npy(row.pop("input_ids"), id_type)))
        if has_mask:
            mask = row.pop("loss_mask")
            if not all_count:
                members.append((f"{key}.loss_mask.npy", npy(mask, "|u1")))
        for name in [name for name, value in row.items() if isinstance(value, str)]:
            members.append((f"{key}.txt" if name == "text" else f"{key}.{name}.txt", row.pop(name).encode()))
        meta = {**row, "loss_mask": 1} if all_count else row
        members.append((f"{key}.meta.json", json.dumps(meta, sort_keys=True, separators=(",", ":")).encode()))
    return members


def npy(values: list[int], dtype: str) -> bytes:
    file = io.BytesIO()
    np.save(file, np.array(values, dtype=dtype))
    return file.getvalue()


@st.composite
def batches(draw: st.DrawFn) -> pa.RecordBatch:
    """Batches of any schema that a shard can hold, empty ones and slices too."""
    fields = [INDEX]
    tokens = draw(st.sampled_from([(), TOKENS[:1], TOKENS]))
    fields += tokens
    fields += [column("offset", pa.int32())] * draw(st.booleans())
    names = draw(st.lists(st.sampled_from(["text", "bio", "a b", "ä", "n", '"q"', "z-1"]), unique=True))
    for name in names:
        kinds = [pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.uint8(), pa.uint16(), pa.uint32()]
        kinds += [list_type(kind) for kind in kinds]
        kinds += [pa.string()] * 7 if name in ("text", "bio", "n", "z-1") else []
        fields.append(column(name, draw(st.sampled_from(kinds))))
    schema = pa.schema(draw(st.permutations(fields)))
    rows = draw(st.integers(0, 5))
    lengths = draw(st.lists(st.integers(0, 300), min_size=rows, max_size=rows))
    mask_low = draw(st.integers(0, 1))
    arrays = []
    for field in schema:
        if field.name == "input_ids":
            arrays.append([draw(tokens_of(length)) for length in lengths])
        elif field.name == "loss_mask":
            arrays.append([draw(mask_of(length, mask_low)) for length in lengths])
        else:
            arrays.append(draw(st.lists(values_of(field), min_size=rows, max_size=rows)))
    columns = [pa.array(each, field.type) for each, field in zip(arrays, schema, strict=True)]
    batch = pa.RecordBatch.from_arrays(columns, schema=schema)
    return batch.slice(draw(st.integers(0, rows))) if draw(st.booleans()) else batch


def tokens_of(length: int) -> st.SearchStrategy[list[int]]:
    seeds = st.integers(0, 2**32 - 1)
    return seeds.map(lambda seed: np.random.default_rng(seed).integers(0, 70_000, length).tolist())


def mask_of(length: int, low: int) -> st.SearchStrategy[list[int]]:
    seeds = st.integers(0, 2**32 - 1)
    return seeds.map(lambda seed: np.random.default_rng(seed).integers(low, 2, length).tolist())


def values_of(field: pa.Field) -> st.SearchStrategy[Any]:
    if pa.types.is_string(field.type):
        return st.text(max_size=600)
    if pa.types.is_list(field.type):
        return st.lists(values_of(pa.field("", field.type.value_type)), max_size=4)
    low, high = {"index": (0, 10**12 - 1), "offset": (0, 2**31 - 1)}.get(field.name, (None, None))
    limits = np.iinfo(dtype_of(field.type))
    return st.integers(int(limits.min) if low is None else low, int(limits.max) if high is None else high)


@settings(max_examples=150, deadline=None)
@given(batches(), st.sampled_from(COMPRESSIONS))
def test_what_is_written_is_what_is_read_and_members_are_as_described(
    batch: pa.RecordBatch, compression: str | None
) -> None:
    data, bounds = shard(batch, compression=compression)
    (group,) = groups_of(data, bounds)
    again = read_group(group, batch.schema, compression)
    assert again.equals(batch)
    assert again.schema.equals(batch.schema)
    again.validate(full=True)
    assert listed(plain(data, compression)) == expected_members(batch, "<i4")


def listed(tar: bytes) -> list[tuple[str, bytes]]:
    """The names and contents of the members, by Python's tarfile."""
    with tarfile.open(fileobj=io.BytesIO(tar)) as archive:
        return [(member.name, archive.extractfile(member).read()) for member in archive]


def plain(data: bytes, compression: str | None) -> bytes:
    """The tar, from the command that users have."""
    if compression is None:
        return data
    return subprocess.run(["zstd", "-dc"], input=data, capture_output=True, check=True).stdout


def test_these_tests_know_every_task() -> None:
    assert {task for task, _ in CONFIGS.values()} == set(TASKS)


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("name", [*CONFIGS, "packed"])
def test_every_task_comes_back_row_group_by_row_group(name: str, compression: str | None) -> None:
    if name == "packed":
        parts = [packed_rows(), packed_rows().slice(0, 0), packed_rows().slice(1)]
    else:
        parts = [made(name, *range(40)), made(name), made(name, 40, 999_999_999_999, 41)]
    data, bounds = shard(*parts, compression=compression)
    for part, group in zip(parts, groups_of(data, bounds), strict=True):
        longest = max((len(row) for row in part.column(0).to_pylist()), default=0)
        most = most_bytes(part.schema, part.num_rows, longest)
        assert read_group(group, part.schema, compression, most=most).equals(part)


@pytest.mark.parametrize("name", [name for name in CONFIGS if name != "capo-text"])
def test_ids_are_uint16_where_all_of_the_split_fit(name: str) -> None:
    batch = made(name, *range(5))
    task, config = get_task(CONFIGS[name][0]), CONFIGS[name][1]
    size = vocab_size(task, examples.complete_config(task, config, 0))
    assert size <= 1 << 16
    for vocabulary, id_type in ((size, "<u2"), (1 << 16, "<u2"), ((1 << 16) + 1, "<i4"), (None, "<i4")):
        data, bounds = shard(batch, vocabulary=vocabulary)
        assert listed(data) == expected_members(batch, id_type)
        assert read_group(data[: bounds[1]], batch.schema, None).equals(batch)


def test_headers_are_plain_ustar_and_carry_the_sums_that_they_should() -> None:
    """POSIX's table of the fields, their offsets written out; checksums of zlib and of tarfile."""
    data, bounds = shard(made("depo", 0, 1, 2))
    assert data[bounds[-1] :] == END
    place, crc = 0, 0
    for name, content in expected_members(made("depo", 0, 1, 2), "<i4"):
        header = data[place : place + 512]
        crc = zlib.crc32(content, crc)
        fields = {0: name.encode(), 100: b"0000644", 108: b"0000000", 116: b"0000000", 136: b"0" * 11}
        fields |= {124: f"{len(content):011o}".encode(), 156: b"0", 257: b"ustar\x0000ostraca"}
        fields |= {297: DIGEST["ostraca_spec_digest"][:31].encode(), 329: b"0000000", 337: b"0000000"}
        blank = bytearray(512)
        for start, text in {**fields, 148: b" " * 8, 500: f"{crc:08x}".encode()}.items():
            blank[start : start + len(text)] = text
        blank[148:156] = f"{sum(blank):06o}\0 ".encode()
        assert header == bytes(blank)
        place += 512 + len(content) + -len(content) % 512
    assert place == bounds[-1]


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_tar_lists_and_extracts_the_same_members(tmp_path: Path, compression: str | None) -> None:
    batch = made("capo-text", *range(20))
    data, _ = shard(batch, compression=compression)
    path = tmp_path / "shard.tar"
    path.write_bytes(plain(data, compression))
    command = ["tar", "--numeric-owner", "--utc", "-tvf", path]
    listed = subprocess.run(command, capture_output=True, check=True, text=True)
    assert not listed.stderr
    expected = expected_members(batch, "<i4")
    lines = [line.split() for line in listed.stdout.splitlines()]
    assert {tuple(line[i] for i in (0, 1, 3, 4)) for line in lines} == {
        ("-rw-r--r--", "0/0", "1970-01-01", "00:00")
    }
    assert [(line[5], int(line[2])) for line in lines] == [(name, len(content)) for name, content in expected]
    subprocess.run(["tar", "-xf", path, "-C", tmp_path], check=True)
    assert all((tmp_path / name).read_bytes() == content for name, content in expected)


@pytest.mark.parametrize("disabled", ["0", "1"])
def test_the_bytes_depend_on_the_examples_alone(disabled: str, tmp_path: Path) -> None:
    """Not on the day, the user, the time zone or the locale, and not on whether kernels are compiled."""
    code = f"""
import sys, time
sys.path.append({str(Path(__file__).parent)!r})
time.time = lambda: 4e9
import test_webdataset as t
print(t.digest_of_all())
"""
    strange = {
        "TZ": "Asia/Tokyo",
        "USER": "nobody",
        "HOME": str(tmp_path),
        "LC_ALL": "C",
        "PYTHONHASHSEED": "7",
    }
    compiled = {"NUMBA_CACHE_DIR": str(Path(CACHE_FOLDER).parent), "NUMBA_DISABLE_JIT": disabled}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), **strange, **compiled},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.strip() == digest_of_all(), done.stderr


def digest_of_all() -> str:
    """sha256 of small shards of all kinds; every row group is read back too."""
    digest = hashlib.sha256()
    for compression in COMPRESSIONS:
        for batch in [*(made(name, 0, 1) for name in CONFIGS), packed_rows()]:
            data, bounds = shard(batch, compression=compression)
            assert read_group(data[: bounds[1]], batch.schema, compression).equals(batch)
            digest.update(data)
    return digest.hexdigest()


def test_threads_may_read_at_the_same_time() -> None:
    parts = [
        made(name, *range(start, start + 50)) for start in range(0, 400, 50) for name in ("depo", "lano")
    ]
    groups = [shard(part)[0][: -len(END)] for part in parts]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda group, part: read_group(group, part.schema, None), groups, parts))
    assert all(again.equals(part) for again, part in zip(found, parts, strict=True))


def test_frames_are_whole_row_groups_and_the_last_ends_the_archive() -> None:
    parts = [made("depo", *range(start, start + 5)) for start in (0, 5, 10)]
    data, bounds = shard(*parts, compression="zstd")
    tar, tar_bounds = shard(*parts)
    frames = [*groups_of(data, bounds), data[bounds[-1] :]]
    pieces = [*groups_of(tar, tar_bounds), END]
    assert [zstandard.ZstdDecompressor().decompress(frame) for frame in frames] == pieces
    assert all(zstandard.get_frame_parameters(frame).has_checksum for frame in frames)


def test_after_an_error_nothing_is_added() -> None:
    file = io.BytesIO()
    batch = made("mano", 0)
    writer = WebDatasetShardWriter(file, batch.schema, {}, compression=None)
    with suppress(KeyboardInterrupt), writer:
        writer.write(batch)
        raise KeyboardInterrupt
    assert len(file.getvalue()) == writer.group_ends[-1]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda schema: schema.remove(schema.get_field_index("index")), ["index", "int64", "parquet"]),
        (lambda schema: schema.append(column("x", pa.float32())), ["'x'", "float", "parquet"]),
        (lambda schema: schema.append(column("x", pa.uint64())), ["'x'", "uint64", "parquet"]),
        (lambda schema: schema.append(column("x", list_type(pa.string()))), ["'x'", "string", "parquet"]),
        (lambda schema: schema.append(column("a.b", pa.string())), ["'a.b'", "a-z", "parquet"]),
        (lambda schema: schema.append(column("n", pa.int32())), ["name of its own", "parquet"]),
    ],
)
def test_columns_that_no_sample_can_hold_are_refused(
    change: Callable[[pa.Schema], pa.Schema], words: list[str]
) -> None:
    schema = change(made("depo").schema)
    with pytest.raises(ConfigError) as caught:
        WebDatasetShardWriter(io.BytesIO(), schema, {}, compression=None)
    assert all(word in str(caught.value) for word in words)


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ({"index": [0, 10**12]}, ["index", "1000000000000", "parquet"]),
        ({"index": [-1, 0]}, ["index", "-1"]),
        ({"offset": [0, -2]}, ["offset", "-2"]),
        ({"input_ids": [[0, 1, 2, 3], [9, 100, 0, 0]]}, ["100", "0 to 99"]),
        ({"input_ids": [[0, 1, 2, 3], [9, -1, 0, 0]]}, ["-1", "0 to 99"]),
    ],
)
def test_values_that_cannot_be_written_are_refused(rows: dict[str, Any], words: list[str]) -> None:
    good = {**packed_rows().to_pydict(), "input_ids": [[0] * 4] * 2}
    batch = pa.RecordBatch.from_pydict({**good, **rows}, schema=PACKED_SCHEMA)
    with pytest.raises(OstracaError) as caught:
        shard(batch, vocabulary=100)
    assert all(word in str(caught.value) for word in words)


def test_compression_is_nothing_or_zstd() -> None:
    batch = made("mano", 0)
    with pytest.raises(ConfigError, match="compression='gzip' must be null or 'zstd'"):
        shard(batch, compression="gzip")
    with pytest.raises(ConfigError, match="compression='gzip' must be null or 'zstd'"):
        read_group(b"", batch.schema, "gzip")
