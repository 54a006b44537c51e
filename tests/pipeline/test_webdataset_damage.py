"""The reader of WebDataset shards notices any damage, and nothing that it is given crashes it."""

from __future__ import annotations

from contextlib import suppress

import numpy as np
import pyarrow as pa
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from small_shards import COMPRESSIONS, CONFIGS, END, made, packed_rows, shard

from ostraca.pipeline.corpus.formats.webdataset_reader import read_group
from ostraca.tasks.errors import OstracaError

DAMAGED = "a row group is damaged"


def assert_noticed(group: bytes, schema: pa.Schema, compression: str | None) -> None:
    with pytest.raises(OstracaError, match=DAMAGED) as caught:
        read_group(group, schema, compression)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("name", ["depo", "mano", "capo-text"])
@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_every_changed_byte_is_noticed(name: str, compression: str | None) -> None:
    batch = made(name, *range(2 if name == "depo" else 1))
    data, bounds = shard(batch, compression=compression, vocabulary=1 << 16)
    group, tar = bytearray(data[: bounds[1]]), shard(batch, vocabulary=1 << 16)[0][: -len(END)]
    changes = np.random.default_rng(0).integers(1, 256, len(group))
    for place, change in enumerate(changes.tolist()):
        group[place] ^= change
        if compression is None or not same_content(bytes(group), tar):
            assert_noticed(bytes(group), batch.schema, compression)
        group[place] ^= change
    assert read_group(bytes(group), batch.schema, compression).equals(batch)


def same_content(frame: bytes, content: bytes) -> bool:
    """A frame has bits that change nothing, such as one that its format leaves unused."""
    with suppress(zstandard.ZstdError, MemoryError):
        return bool(zstandard.ZstdDecompressor().decompress(frame) == content)
    return False


def test_a_changed_header_with_a_mended_checksum_is_noticed() -> None:
    batch = made("mano", 0, 1)
    data, bounds = shard(batch)
    for place in [*range(148), *range(156, 512)]:
        group = bytearray(data[: bounds[1]])
        group[place] ^= 1
        group[148:156] = f"{sum(group[:148]) + 256 + sum(group[156:512]):06o}\0 ".encode()
        assert_noticed(bytes(group), batch.schema, None)


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_a_row_group_that_is_cut_off_or_too_long_is_noticed(compression: str | None) -> None:
    batch = made("depo", 0, 1, 2)
    data, bounds = shard(batch, made("depo", 3), compression=compression)
    group = data[: bounds[1]]
    for length in {*range(1, len(group), 64), len(group) - 1}:
        assert_noticed(group[:length], batch.schema, compression)
        assert_noticed(group[length:], batch.schema, compression)
    for more in (b"\0", bytes(512), group, data[bounds[1] : bounds[2]], data[bounds[2] :]):
        assert_noticed(group + more, batch.schema, compression)


def members_of(group: bytes) -> list[bytes]:
    """The members of a row group, with their headers."""
    found = []
    while group:
        size = int(group[124:135], 8)
        end = 512 + size + -size % 512
        found.append(group[:end])
        group = group[end:]
    return found


@pytest.mark.parametrize("name", ["depo", "mano", "capo-text", "packed"])
def test_members_and_samples_that_changed_places_are_noticed(name: str) -> None:
    batch = packed_rows() if name == "packed" else made(name, 0, 1, 2)
    data, bounds = shard(batch)
    members = members_of(data[: bounds[1]])
    each = len(members) // batch.num_rows
    for first in range(len(members)):
        assert_noticed(b"".join(members[:first] + members[first + 1 :]), batch.schema, None)
        assert_noticed(b"".join(members[: first + 1] + members[first:]), batch.schema, None)
        for second in range(first + 1, len(members)):
            swapped = list(members)
            swapped[first], swapped[second] = members[second], members[first]
            assert_noticed(b"".join(swapped), batch.schema, None)
    samples = [b"".join(members[start : start + each]) for start in range(0, len(members), each)]
    assert_noticed(b"".join(reversed(samples)), batch.schema, None)
    for lost in range(len(samples) - 1):
        assert_noticed(b"".join(samples[:lost] + samples[lost + 1 :]), batch.schema, None)


def test_a_row_group_that_lost_its_last_samples_has_fewer_rows() -> None:
    """It is a sound row group by itself; who asked for it knows how many rows there must be."""
    batch = made("depo", 0, 1, 2)
    group = shard(batch)[0][: -len(END)]
    fewer = read_group(b"".join(members_of(group)[:6]), batch.schema, None)
    assert fewer.equals(batch.slice(0, 2))


def test_the_damaged_member_is_named() -> None:
    batch = made("depo", 7, 8, 9)
    data, bounds = shard(batch)
    group = data[: bounds[1]]
    place = 0
    for member in members_of(group):
        name = member[: member.index(0)].decode()
        for inside in (0, 130, 512, len(member) - 1):
            damaged = bytearray(group)
            damaged[place + inside] ^= 1
            with pytest.raises(OstracaError, match=DAMAGED) as caught:
                read_group(bytes(damaged), batch.schema, None)
            assert name in str(caught.value) or inside in (0, 130)
        place += len(member)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_no_bytes_at_all_crash_the_reader(data: st.DataObject) -> None:
    """Sound members with pieces of them replaced by others, so that the inner readers see nonsense."""
    batch = made("depo", 0, 1)
    sound = shard(batch)[0][: -len(END)]
    group = bytearray(sound)
    for _ in range(data.draw(st.integers(1, 4))):
        length = data.draw(st.integers(1, 600))
        start, source = (data.draw(st.integers(0, len(group) - length)) for _ in range(2))
        noise = data.draw(st.sampled_from([b"7", b"[", b",", b"-", b"\xff", b""])) * length
        group[start : start + length] = noise or group[source : source + length]
    if bytes(group) != sound:
        assert_noticed(bytes(group), batch.schema, None)


def test_a_row_group_of_another_schema_is_refused() -> None:
    names = [name for name in CONFIGS if name != "capo-text"]
    for written in names:
        data, bounds = shard(made(written, 0, 1, 2))
        for asked in names:
            if made(asked).schema != made(written).schema:
                assert_noticed(data[: bounds[1]], made(asked).schema, None)
