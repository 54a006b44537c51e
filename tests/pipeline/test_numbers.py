"""Long lists of integers as text: read back as they were, many at a time too; whatever else is told."""

from __future__ import annotations

import base64
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostraca.pipeline.corpus.numbers import _b85decode, decode_lists, decode_numbers, encode_numbers
from ostraca.tasks.errors import OstracaError

INT64 = st.integers(-(2**63), 2**63 - 1)


@given(st.lists(st.one_of(st.integers(0, 300_000), INT64)))
def test_a_list_is_read_as_it_was_written(numbers: list[int]) -> None:
    text = encode_numbers(np.array(numbers, np.int64))
    assert decode_numbers(text, len(numbers)).tolist() == numbers
    assert (text == "") == (not numbers)
    if numbers:
        with pytest.raises(OstracaError, match="is not a list of numbers"):
            decode_numbers(text, len(numbers) - 1)


@given(st.integers(1, 20).flatmap(lambda n: st.lists(st.lists(INT64, min_size=n, max_size=n), min_size=1)))
def test_many_lists_at_once(lists: list[list[int]]) -> None:
    texts = [encode_numbers(np.array(numbers, np.int64)) for numbers in lists]
    found = decode_lists(texts, len(lists[0]))
    assert found is not None
    assert found.tolist() == lists
    assert decode_lists(texts, len(lists[0]) + 1) is None
    assert decode_lists(texts, len(lists[0]) - 1) is None
    assert decode_lists([*texts[:-1], texts[-1][:-1]], len(lists[0])) is None
    assert decode_lists(["", *texts], len(lists[0])) is None


@given(st.lists(st.text(st.sampled_from("09AZaz!~{}|^_`é\"',; "), max_size=12), min_size=1, max_size=4))
def test_base85_is_the_library_s(texts: list[str]) -> None:
    try:
        wanted = [base64.b85decode(text) for text in texts]
    except ValueError:
        with pytest.raises(ValueError, match="base85"):
            _b85decode(texts)
    else:
        assert _b85decode(texts) == wanted


@pytest.mark.parametrize(
    "planes",
    [b"", b"1234567", zlib.compress(b"1234567"), zlib.compress(bytes(80))[:-1], zlib.compress(bytes(8 * 11))],
)
def test_other_bytes_are_told(planes: bytes) -> None:
    text = base64.b85encode(planes).decode()
    if planes:
        with pytest.raises(OstracaError, match=r"is not a list of numbers .*, or of over 10"):
            decode_numbers(text, 10)
    assert decode_lists([text], 10) is None
