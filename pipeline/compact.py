"""Long lists of integers as short text, for the manifest."""

from __future__ import annotations

import base64
import binascii
import zlib

import numpy as np
from numpy.typing import NDArray

from tasks.errors import OstracaError

_MOST = 1 << 40  # bytes that a text may unfold to


def encode_numbers(numbers: NDArray[np.int64]) -> str:
    """int64 [n] as text; an ascending list takes about a byte a number. Nothing gives an empty text."""
    if not len(numbers):
        return ""
    steps = np.diff(numbers.astype("<i8"), prepend=np.int64(0)).astype("<i8")
    planes = steps.view(np.uint8).reshape(-1, 8).T.tobytes()  # the (mostly zero) upper bytes side by side
    return base64.b85encode(zlib.compress(planes, 9)).decode()


def decode_numbers(text: str) -> NDArray[np.int64]:
    """The int64 [n] that `encode_numbers` was given; OstracaError where the text is none of its."""
    if not text:
        return np.zeros(0, np.int64)
    try:
        planes = zlib.decompressobj().decompress(base64.b85decode(text), _MOST)
        steps = np.frombuffer(planes, np.uint8).reshape(8, -1).T
    except (ValueError, zlib.error, binascii.Error):
        raise OstracaError(f"{text[:20]!r}… is no list of numbers as the manifest holds them") from None
    return np.cumsum(np.ascontiguousarray(steps).view("<i8").ravel()).astype(np.int64)
