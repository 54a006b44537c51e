"""Long lists of integers as short text, for the manifest."""

from __future__ import annotations

import base64
import binascii
import zlib

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
        unfolding = zlib.decompressobj()
        planes = unfolding.decompress(base64.b85decode(text), 8 * most + 1)
        if len(planes) > 8 * most or not unfolding.eof:
            raise ValueError("more than there can be, or truncated")
        steps = np.frombuffer(planes, np.uint8).reshape(8, -1).T
    except (ValueError, zlib.error, binascii.Error):
        raise OstracaError(
            f"{shown(text[:20])} is not a list of numbers as the manifest holds them, or of over {most:,}"
        ) from None
    return np.cumsum(np.ascontiguousarray(steps).view("<i8").ravel()).astype(np.int64)
