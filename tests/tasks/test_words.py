"""Words: how many there are, how they are numbered, and which configs are refused."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ostraca.tasks.core.words import check_words, count_words, first_word_numbers, table_bits
from ostraca.tasks.errors import ConfigError

SMALL = st.tuples(st.integers(1, 5), st.integers(1, 4), st.integers(0, 3))


@settings(derandomize=True, deadline=None)
@given(SMALL)
def test_count_and_numbers_are_those_of_the_list_of_all_words(space: tuple[int, int, int]) -> None:
    """Words in the order of length, then of tokens: their count, and where each length begins."""
    vocab, low, more = space
    lengths = range(low, low + more + 1)
    words = [word for length in lengths for word in itertools.product(range(vocab), repeat=length)]
    assert count_words(vocab, low, low + more) == len(words)
    firsts = first_word_numbers(vocab, low, low + more)
    assert len(firsts) == low + more + 1
    assert (firsts[:low] == 0).all()
    for length in lengths:
        assert words[firsts[length]] == (0,) * length


@settings(derandomize=True, deadline=None)
@given(SMALL, st.integers(3, 10**5))
def test_the_table_has_room(space: tuple[int, int, int], needed: int) -> None:
    """A slot for every word, or at most a quarter of the slots in use; and no more than twice that."""
    vocab, low, more = space
    slots = 2 ** table_bits(needed, vocab, low, low + more)
    words = count_words(vocab, low, low + more)
    assert slots >= min(words, 4 * needed)
    assert slots <= 2 * max(words, 4 * needed)


def test_the_published_spaces() -> None:
    assert count_words(50, 1, 2) == 50 + 2500
    assert count_words(3, 5, 7) == 243 + 729 + 2187
    assert count_words(4, 2, 4) == 16 + 64 + 256


@settings(derandomize=True, deadline=None)
@given(SMALL)
def test_exactly_enough_words_are_accepted_and_one_less_is_not(space: tuple[int, int, int]) -> None:
    vocab, low, more = space
    words = count_words(vocab, low, low + more)
    check_words("t", words, vocab, low, low + more)
    with pytest.raises(ConfigError, match=rf"^t: N={words + 1} .* has only {words};"):
        check_words("t", words + 1, vocab, low, low + more)


def test_words_that_cannot_be_numbered_are_refused() -> None:
    """Word numbers live in int64: 61 bits at most; unary words of any length are few."""
    check_words("t", 3, 2, 1, 61)
    check_words("t", 64, 1, 1, 64)
    for vocab, longest in ((2, 62), (3, 39), (10**9, 3)):
        with pytest.raises(ConfigError, match=f"mini_vocab={vocab} with max_tlen={longest}"):
            check_words("t", 3, vocab, 1, longest)
    with pytest.raises(ConfigError, match="min_tlen=3 must not be larger than max_tlen=2"):
        check_words("t", 3, 50, 3, 2)
