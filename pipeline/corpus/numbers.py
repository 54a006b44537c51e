"""Long lists of integers as short text, for the manifest."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ...tasks.errors import OstracaError, shown


def encode_numbers(numbers: NDArray[np.int64]) -> str:
    """int64 [n] as text; an ascending list takes about a byte a number. Nothing gives an empty text."""
    if not len(numbers):
        return ""
    steps = np.diff(numbers.astype("<i8"), prepend=np.int64(0)).astype("<i8")
    planes = steps.view(np.uint8).reshape(-1, 8).T.tobytes()  # the (mostly zero) upper bytes side by side
    return base64.b85encode(zlib.compress(planes, 9)).decode()


def decode_numbers(text: str, most: int) -> NDArray[np.int64]:
    """The int64 [n] that `encode_numbers` was given; OstracaError where the text is none of its.

    most: no more than so many numbers are unfolded, whatever the text holds.
    """
    if not text:
        return np.zeros(0, np.int64)
    try:
        planes = _unfolded(_b85decode([text])[0], most)
        if len(planes) % 8:
            raise ValueError("no numbers of eight bytes")
    except (ValueError, zlib.error):
        raise OstracaError(
            f"{shown(text[:20])} is not a list of numbers as the manifest holds them, or of over {most:,}"
        ) from None
    return _summed(planes, 1).ravel()


def decode_lists(texts: Sequence[str], count: int) -> NDArray[np.int64] | None:
    """Many lists of `count` numbers each, int64 [lists, count]; None where a text is of no such list."""
    try:
        planes = [_unfolded(data, count) for data in _b85decode(texts)]
    except (ValueError, zlib.error):
        return None
    if any(len(own) != 8 * count for own in planes):
        return None
    return _summed(b"".join(planes), len(texts))


def _unfolded(data: bytes, most: int) -> bytes:
    unfolding = zlib.decompressobj()
    planes = unfolding.decompress(data, 8 * most + 1)
    if len(planes) > 8 * most or not unfolding.eof:
        raise ValueError("more than there can be, or truncated")
    return planes


def _summed(planes: bytes, lists: int) -> NDArray[np.int64]:
    """The lists whose steps these planes hold, list after list."""
    steps = np.frombuffer(planes, np.uint8).reshape(lists, 8, -1).transpose(0, 2, 1)
    numbers: NDArray[np.int64] = np.ascontiguousarray(steps).view("<i8")[:, :, 0].astype(np.int64)
    sums: NDArray[np.int64] = np.cumsum(numbers, axis=1)
    return sums


_ALPHABET = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!#$%&()*+-;<=>?@^_`{|}~"
_DIGITS = np.full(256, 255, np.uint8)
_DIGITS[np.frombuffer(_ALPHABET, np.uint8)] = np.arange(85)
_PLACES = 85 ** np.arange(4, -1, -1)


def _b85decode(texts: Sequence[str]) -> list[bytes]:
    """`base64.b85decode` of many texts at once; it took most of the time that a large manifest is read in."""
    lacking = [-len(text) % 5 for text in texts]
    joined = "".join(text + "~" * lack for text, lack in zip(texts, lacking, strict=True))
    digits = _DIGITS[np.frombuffer(joined.encode(), np.uint8)]
    if len(digits) != len(joined) or (digits == 255).any():
        raise ValueError("not base85")
    words = digits.reshape(-1, 5) @ _PLACES
    if (words >= 2**32).any():
        raise ValueError("base85 of more than four bytes")
    data, found, at = words.astype(">u4").tobytes(), [], 0
    for text, lack in zip(texts, lacking, strict=True):
        stop = at + (len(text) + lack) // 5 * 4
        found.append(data[at : stop - lack])
        at = stop
    return found
