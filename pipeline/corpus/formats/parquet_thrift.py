"""Thrift's compact protocol, as far as the footer and the page headers of a Parquet file need it."""

from __future__ import annotations

from collections.abc import Sequence

TRUE, I16, I32, I64, BINARY, LIST, STRUCT = 1, 4, 5, 6, 8, 9, 12
Field = tuple[int, int, bytes]  # number, kind, value


def varint(value: int) -> bytes:
    """A number from 0 on, seven bits a byte, the lowest first."""
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def integer(value: int) -> bytes:
    """The value of an integer field of any size."""
    return varint(value << 1 if value >= 0 else (-value << 1) - 1)


def binary(value: bytes) -> bytes:
    """The value of a field of bytes or text."""
    return varint(len(value)) + value


def listed(kind: int, items: Sequence[bytes]) -> bytes:
    """The value of a field that is a list of values of one kind."""
    count = len(items)
    head = bytes([count << 4 | kind]) if count < 15 else bytes([240 | kind]) + varint(count)
    return head + b"".join(items)


def struct(*fields: Field, after: int = 0) -> bytes:
    """The fields of a struct, whose numbers ascend, and its end. after: the field before the first one."""
    out = bytearray()
    for number, kind, value in fields:
        out.append((number - after) << 4 | kind)
        out += value
        after = number
    out.append(0)
    return bytes(out)
