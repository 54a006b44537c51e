"""POSIX ustar archives made and taken apart in bulk: headers and contents of all members by kernels.

A member is a header of 512 bytes and its content, filled up with zeros to whole blocks of 512. All is fixed
but the name, the size and two sums: the header's own checksum, and in bytes 500..507, which ustar leaves
unused, the CRC-32 (zlib's) of the contents of this member and all before it in its row group, in hexadecimal.
So a changed byte, a lost member and two that changed places are noticed.

Source: POSIX.1-2017, pax, "ustar Interchange Format"; Kounavis and Berry, ISCC 2005 (CRC-32, 8 bytes a step).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ....tasks.core.kernels import inlined, kernel

BLOCK = 512
END_OF_ARCHIVE = bytes(2 * BLOCK)
KEY_WIDTHS = (12, 10)  # digits of an index, and of an offset after it
_SIZE, _CHECKSUM, _OWNERS_GROUP, _CRC = 124, 148, 297, 500  # where these fields of a header begin
_NPY_HEAD = 128
_NPY_COUNT = 61  # where the number of items stands in an npy head
_1, _2, _3, _4, _5, _6, _7, _8, _16, _24 = (np.uint64(n) for n in (1, 2, 3, 4, 5, 6, 7, 8, 16, 24))
_LOW, _ALL = np.uint64(255), np.uint64(0xFFFFFFFF)


def member_header(suffix: str, keys: int, group: bytes) -> NDArray[np.uint8]:
    """The header of the members KEY.suffix with zeros for the key, the size and the sums: uint8 [512].

    keys: 1 for a key of an index, 2 for one of an index and an offset. group: up to 31 bytes of text, which
    stands where the name of the owner's group does.
    """
    name = "-".join("0" * width for width in KEY_WIDTHS[:keys]) + f".{suffix}"
    fields = [(0, name.encode()), (100, b"0000644\0" + b"0000000\0" * 2 + b"0" * 11 + b"\0" + b"0" * 11)]
    fields += [(_CHECKSUM, b" " * 8), (156, b"0"), (257, b"ustar\00000ostraca"), (_OWNERS_GROUP, group)]
    fields += [(329, b"0000000\0" * 2)]
    header = bytearray(BLOCK)
    for place, text in fields:
        header[place : place + len(text)] = text
    return np.frombuffer(bytes(header), dtype=np.uint8)


def npy_head(dtype: np.dtype) -> NDArray[np.uint8]:
    """What numpy.save writes before the items of a flat array, without their number: uint8 [128]."""
    text = f"{{'descr': '{dtype.str}', 'fortran_order': False, 'shape': ("
    assert len(text) == _NPY_COUNT - 10
    head = b"\x93NUMPY\x01\x00v\x00" + text.encode()
    return np.frombuffer(head.ljust(_NPY_HEAD - 1) + b"\n", dtype=np.uint8)


def group_name(spec_digest: str) -> bytes:
    """The name of the owner's group in shards of a spec: the beginning of its digest."""
    return spec_digest[:31].encode("ascii")


def owners_group(archive: NDArray[np.uint8]) -> bytes:
    """What `member_header` was given as `group`, of an archive's first member, with zeros up to 31 bytes."""
    return archive[_OWNERS_GROUP : _OWNERS_GROUP + 31].tobytes()


def _crc_tables() -> NDArray[np.uint32]:
    """tables[k, byte]: the CRC-32 of a byte and k zero bytes after it: uint32 [8, 256]."""
    tables = np.empty((8, 256), dtype=np.uint32)
    first = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        first = np.where(first & 1, np.uint32(0xEDB88320), np.uint32(0)) ^ (first >> np.uint32(1))
    tables[0] = first
    for k in range(1, 8):
        tables[k] = first[tables[k - 1] & 255] ^ (tables[k - 1] >> np.uint32(8))
    return tables


CRC_TABLES = _crc_tables()


@inlined
def _zero_padded(out, end, width, number):
    """Write the last `width` decimal digits of a number before `end`."""
    rest = number
    for back in range(width):
        out[end - 1 - back] = 48 + rest % 10
        rest //= 10
    return rest


@kernel
def lay_members(out, places, keys, key_widths, header, head, item, payload, offsets):
    """Write one member for every row at its place in `out`, without its sums.

    places: int64 [rows], of the headers; keys: int64 [rows, 1 or 2]; header: uint8 [512]; head: uint8 [0], or
    an npy head [128], to which the number of items of `item` bytes is added; payload: uint8, row r's are
    payload[offsets[r]:offsets[r + 1]] (int64).
    """
    for row in range(len(places)):
        at = places[row]
        block = out[at : at + BLOCK]
        for byte in range(BLOCK):
            block[byte] = header[byte]
        end = at
        for part in range(keys.shape[1]):
            end += key_widths[part] + (1 if part else 0)
            _zero_padded(out, end, key_widths[part], keys[row, part])
        first = offsets[row]
        length = offsets[row + 1] - first
        rest = length + len(head)
        for digit in range(11):
            out[at + _SIZE + 10 - digit] = 48 + (rest & 7)
            rest >>= 3
        at += BLOCK
        for byte in range(len(head)):
            out[at + byte] = head[byte]
        if len(head):
            count, digits = length // item, 1
            bound = 10
            while count >= bound:
                digits += 1
                bound *= 10
            end = at + _NPY_COUNT + digits
            _zero_padded(out, end, digits, count)
            out[end], out[end + 1], out[end + 2], out[end + 4] = 44, 41, 44, 125  # ",), }"
        at += len(head)
        content, given = out[at : at + length], payload[first : first + length]
        for byte in range(length):
            content[byte] = given[byte]
        fill = -(length + len(head)) % BLOCK
        rest_of_block = out[at + length : at + length + fill]
        for byte in range(fill):
            rest_of_block[byte] = 0


@kernel
def seal_members(out, places, sizes, tables):
    """Add the sums to the headers of a row group's members, in order; places, sizes: int64 [members]."""
    crc = np.uint64(0)
    for member in range(len(places)):
        header = places[member]
        # Unsigned places: for signed ones Numba asks at every access whether they count from the end.
        place = np.uint64(header + BLOCK)
        end = place + np.uint64(sizes[member])
        crc ^= _ALL
        while place + _8 <= end:
            crc ^= np.uint64(out[place]) | (np.uint64(out[place + _1]) << _8)
            crc ^= (np.uint64(out[place + _2]) << _16) | (np.uint64(out[place + _3]) << _24)
            word = tables[7, crc & _LOW] ^ tables[6, (crc >> _8) & _LOW]
            word ^= tables[5, (crc >> _16) & _LOW] ^ tables[4, crc >> _24]
            word ^= tables[3, out[place + _4]] ^ tables[2, out[place + _5]]
            crc = np.uint64(word ^ tables[1, out[place + _6]] ^ tables[0, out[place + _7]])
            place += _8
        while place < end:
            crc = np.uint64(tables[0, (crc ^ np.uint64(out[place])) & _LOW]) ^ (crc >> _8)
            place += _1
        crc ^= _ALL
        rest = np.int64(crc)
        for digit in range(8):
            nibble = rest & 15
            out[header + _CRC + 7 - digit] = nibble + (48 if nibble < 10 else 87)
            rest >>= 4
        block = out[header : header + BLOCK]
        total = np.int64(0)
        for byte in range(BLOCK):
            total += np.int64(block[byte])
        for digit in range(6):
            out[header + _CHECKSUM + 5 - digit] = 48 + (total & 7)
            total >>= 3
        out[header + _CHECKSUM + 6] = 0  # then the eighth of the spaces that it was summed with


@kernel
def find_members(archive, places, sizes):
    """Fill in the places of the headers and the sizes of the contents: int64 [len(archive) // 512].

    Returns (how many whole members there are, where they end): that is the archive's end where it is sound.
    """
    members, place = 0, np.int64(0)
    sound = True
    while sound and place + BLOCK <= len(archive):
        size = np.int64(0)
        for digit in range(11):
            value = np.int64(archive[place + _SIZE + digit]) - 48
            sound = bool(sound and 0 <= value < 8)
            size = size * 8 + value
        end = place + BLOCK + size + -size % BLOCK
        sound = bool(sound and end <= len(archive))
        if sound:
            places[members], sizes[members] = place, size
            members += 1
            place = end
    return members, place


@kernel
def gather(archive, starts, sizes, out):
    """Copy the pieces archive[starts[i]:starts[i] + sizes[i]] one after the other into `out`."""
    place = 0
    for piece in range(len(starts)):
        first, size = starts[piece], sizes[piece]
        given, copied = archive[first : first + size], out[place : place + size]
        for byte in range(size):
            copied[byte] = given[byte]
        place += size
