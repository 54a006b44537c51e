"""The law of every random choice in Mano, against the exact one worked out in `oracles.mano_law`.

Chi-square tests with fixed seeds. A right generator fails one at p < 1e-4 for one seed in 10,000; the seeds
are fixed, so these pass for good. Expected counts are at least 20 a cell everywhere (`chi_square` checks).
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
from facts.kinds import lists
from facts.mano import make, prefix_of
from numpy.typing import NDArray
from oracles.mano_law import answers, expressions, masses, whole_law
from scipy import stats

from ostraca.tasks.core.batch import unragged
from ostraca.tasks.mano import KEYS, check
from ostraca.tasks.mano.config import MAX_LENGTH, MIN_ACCEPTANCE, acceptance

PLAIN = {"knowledge_augment": False}


def chi_square(observed: Any, expected: Any) -> None:
    """The counts follow the law with these probabilities, p > 1e-4."""
    counts, law = np.asarray(observed, float), np.asarray(expected, float)
    assert counts.shape == law.shape
    assert abs(law.sum() - 1) < 1e-9
    cells = law * counts.sum()
    assert cells.min() >= 20, "too few draws for a chi-square test"
    p = stats.chisquare(counts, cells * (counts.sum() / cells.sum())).pvalue
    assert p > 1e-4, f"p = {p:.2e}: observed {counts.tolist()}, expected {cells.tolist()}"


def chi_square_uniform(observed: Counter[Any], cells: int) -> None:
    """All of `cells` outcomes occur, and equally often."""
    assert len(observed) == cells
    if cells > 1:
        chi_square(list(observed.values()), np.full(cells, 1 / cells))


def prefixes(given: dict[str, Any], rows: int, seed: int) -> list[tuple[Any, ...]]:
    _, batch = make(given, rows, seed=seed)
    return [prefix_of(tokens) for tokens in lists(batch["input_ids"])]


def subtree(prefix: tuple[Any, ...], begin: int) -> int:
    """Where the expression that begins at `begin` ends."""
    missing = 1
    while missing:
        missing += 1 if isinstance(prefix[begin], str) else -1
        begin += 1
    return begin


# ---- the answers

# Percent of the answers that are 0 with modulus 23, by operators and ttype.
ZEROS = {
    "asm": {10: 7.025848, 13: 7.133266, 16: 7.212401},
    "asmd": {10: 6.591262, 13: 6.702018, 16: 6.785149},
}
MEASURED = {10: 6.9, 13: 7.1, 16: 7.15}  # of the published generator


@pytest.mark.parametrize("letters", ZEROS)
@pytest.mark.parametrize("length", [10, 13, 16])
def test_how_often_the_answer_is_0(letters: str, length: int) -> None:
    """What answering 0 without reading scores; the other answers are equally likely."""
    law = answers(length, 23, letters)
    assert abs(100 * law[0] - ZEROS[letters][length]) < 1e-6
    assert np.ptp(law[1:]) < 1e-12


def test_the_default_operators_are_those_of_the_published_scores() -> None:
    """Of "asm" and "asmd" the first gives the measured floors within 0.13; the second is 0.3 off and more."""
    off = {t: max(abs(ZEROS[t][n] - MEASURED[n]) for n in MEASURED) for t in ZEROS}
    assert off["asm"] < 0.13
    assert min(abs(ZEROS["asmd"][n] - MEASURED[n]) for n in MEASURED) > 0.3
    assert KEYS["ttype"].default == "asm"


@pytest.mark.parametrize(
    ("letters", "modulus", "length"),
    [("asm", 23, 16), ("asmd", 23, 10), ("asmd", 5, 7), ("asm", 6, 5), ("m", 12, 3), ("d", 7, 4)],
)
def test_answers_follow_their_law(letters: str, modulus: int, length: int) -> None:
    """Redrawing whole expressions where something is divided by zero moves the law of the answers."""
    given = {"L": length, "qa": True, "ttype": letters, "value_mod": modulus}
    _, batch = make(given, 40_000, seed=1)
    chi_square(np.bincount(batch["answer"].to_numpy(), minlength=modulus), answers(length, modulus, letters))


def test_the_convolution_is_the_enumeration() -> None:
    """Guards the oracle itself: masses of all values, of all expressions of up to 3 operators."""
    for length, modulus, letters in (
        (0, 5, "d"),
        (1, 3, "asmd"),
        (2, 3, "asmd"),
        (3, 2, "sd"),
        (2, 4, "asm"),
    ):
        summed = np.zeros(modulus)
        for _, probability, value in expressions(length, modulus, letters):
            if value is not None:
                summed[value] += float(probability)
        assert np.abs(summed - masses(length, modulus, letters)).max() < 1e-12


# ---- whole expressions


@pytest.mark.parametrize(
    ("letters", "modulus", "length"),
    [("asmd", 3, 1), ("asmd", 2, 2), ("d", 3, 2), ("sm", 2, 3), ("d", 2, 4)],
)
def test_whole_expressions_follow_their_law(letters: str, modulus: int, length: int) -> None:
    """Every expression there is occurs, as often as it must: operators, shape, leaves and answer at once."""
    law = whole_law(length, modulus, letters)
    given = {**PLAIN, "L": length, "qa": True, "ttype": letters, "value_mod": modulus}
    _, batch = make(given, 60_000, seed=2)
    seen = Counter(map(prefix_of, lists(batch["input_ids"])))
    assert set(seen) == set(law)
    chi_square([seen[prefix] for prefix in law], [float(p) for p, _ in law.values()])
    told = dict(zip(map(prefix_of, lists(batch["input_ids"])), batch["answer"].to_pylist(), strict=True))
    assert told == {prefix: value for prefix, (_, value) in law.items()}


def test_length_operators_shape_and_answer_follow_their_joint_law() -> None:
    """L = 3, modulus 3, all operators: what stands where the leaves are left out, and the answer."""
    expected: dict[Any, float] = {}
    for length in (1, 2, 3):
        total = float(masses(length, 3, "asmd").sum())
        for prefix, probability, value in expressions(length, 3, "asmd"):
            if value is not None:
                form = tuple(item if isinstance(item, str) else "." for item in prefix)
                expected[form, value] = expected.get((form, value), 0.0) + float(probability) / total / 3
    assert len(expected) == 3 * (4 + 2 * 16 + 5 * 64)
    _, batch = make({"L": 3, "ttype": "asmd", "value_mod": 3}, 60_000, seed=3)
    seen: Counter[Any] = Counter()
    for tokens, answer in zip(lists(batch["input_ids"]), batch["answer"].to_pylist(), strict=True):
        form = tuple(item if isinstance(item, str) else "." for item in prefix_of(tokens))
        seen[form, answer] += 1
    assert set(seen) <= set(expected)
    # Cells that are too rare go together.
    rare = {cell for cell, p in expected.items() if p * 60_000 < 20}
    cells = [cell for cell in expected if cell not in rare]
    observed = [seen[cell] for cell in cells] + [sum(seen[cell] for cell in rare)]
    law = [expected[cell] for cell in cells] + [sum(expected[cell] for cell in rare)]
    chi_square(observed, law)


# ---- lengths, shapes, operators and leaves of long expressions


def test_lengths_are_uniform_even_where_division_redraws() -> None:
    """The length is drawn once: long expressions, which divide by zero more often, stay as frequent."""
    _, batch = make({"L": 16, "ttype": "asmd", "value_mod": 3}, 30_000, seed=4)
    lengths = batch["length"].to_numpy()
    chi_square_uniform(Counter(lengths.tolist()), 16)
    assert (np.diff(unragged(batch["input_ids"])[1]) == 2 * lengths + 5).all()
    assert set(make({"L": 9, "qa": True}, 200)[1]["length"].to_pylist()) == {9}
    assert set(make({"L": 9, "qa": True, "fixed_length": 4}, 200)[1]["length"].to_pylist()) == {4}


def test_left_children_are_uniform_and_operators_are_independent_of_them() -> None:
    """30 operators, no division: (operators of the left child, operator) of the root and of its children."""
    of_root: Counter[Any] = Counter()
    of_left: Counter[Any] = Counter()
    of_right: Counter[Any] = Counter()
    for prefix in prefixes({"L": 30, "fixed_length": 30}, 20_000, seed=5):
        middle = subtree(prefix, 1)
        left, right = prefix[1:middle], prefix[middle:]
        of_root[len(left) // 2, prefix[0]] += 1
        if len(left) == 2 * 12 + 1:
            of_left[(subtree(left, 1) - 1) // 2, left[0]] += 1
        if len(right) <= 2 * 4 + 1 and len(right) > 1:
            of_right[len(right) // 2, (subtree(right, 1) - 1) // 2] += 1
    chi_square_uniform(of_root, 30 * 3)
    assert set(of_left) <= {(n, symbol) for n in range(12) for symbol in "+-*"}
    chi_square_uniform(Counter(n // 2 for n, symbol in of_left.elements()), 6)
    chi_square_uniform(Counter(symbol for _, symbol in of_left.elements()), 3)
    for length in range(1, 5):
        sizes = Counter(left for n, left in of_right.elements() if n == length)
        chi_square_uniform(sizes, length)


def test_leaves_are_uniform_wherever_they_stand() -> None:
    """Six operators, modulus 23: each of the seven leaves, and neighbours are independent."""
    leaves = np.array(
        [[x for x in p if not isinstance(x, str)] for p in prefixes({"fixed_length": 6}, 20_000, seed=6)]
    )
    assert leaves.shape == (20_000, 7)
    for place in range(7):
        chi_square_uniform(Counter(leaves[:, place].tolist()), 23)
    for place in range(6):
        chi_square_uniform(Counter((leaves[:, place] * 23 + leaves[:, place + 1]).tolist()), 23**2)


# ---- aliases


def forms_of(tokens: NDArray[np.int32]) -> list[int]:
    """1 for an alias: of <bos>, <len>, <ans>, then of the operators as they stand."""
    ids = tokens.tolist()
    operators = [int(token > 4) for token in ids[2:-2] if token < 5000]
    return [9999 - ids[0], ids[1] % 10, ids[-2] % 10 - 4, *operators]


def test_aliases_are_fair_coins_independent_of_the_expression() -> None:
    """Two operators: all 2^5 forms, with every pair of operators."""
    _, batch = make({"fixed_length": 2}, 30_000, seed=7)
    seen: Counter[Any] = Counter()
    for tokens in lists(batch["input_ids"]):
        operators = "".join(item for item in prefix_of(tokens) if isinstance(item, str))
        seen[operators, tuple(forms_of(tokens))] += 1
    chi_square_uniform(seen, 9 * 2**5)


def test_every_coin_of_a_long_example_is_fair() -> None:
    """103 coins out of four words: the ones at every place, and of every two neighbours."""
    _, batch = make({"L": 100, "fixed_length": 100}, 8000, seed=8)
    coins = np.array([forms_of(tokens) for tokens in lists(batch["input_ids"])])
    assert coins.shape == (8000, 103)
    for bits in (coins, coins[:, 1:] ^ coins[:, :-1]):
        deviation = (bits.sum(0) - 4000) / np.sqrt(2000)
        assert 1e-4 < stats.chi2.sf((deviation**2).sum(), bits.shape[1]) < 1 - 1e-4


def test_without_aliases_only_the_first_ids_occur() -> None:
    _, batch = make({**PLAIN, "ttype": "asmd"}, 2000, seed=9)
    assert not any(any(forms_of(tokens)) for tokens in lists(batch["input_ids"]))


def test_aliases_change_nothing_but_forms() -> None:
    """<len_3>' means what <len_3> does: the law of lengths and answers stays."""
    _, batch = make({"L": 3, "value_mod": 3}, 30_000, seed=10)
    seen = Counter(zip(batch["length"].to_pylist(), batch["answer"].to_pylist(), strict=True))
    cells = [(length, value) for length in (1, 2, 3) for value in range(3)]
    chi_square([seen[cell] for cell in cells], [answers(n, 3, "asm")[v] / 3 for n, v in cells])


# ---- how many examples there are


@pytest.mark.parametrize("length", [1, 2])
def test_every_short_example_there_is_occurs(length: int) -> None:
    """Few short ones exist: 40,000 draws find all of them, and no more."""
    for letters, modulus in (("a", 2), ("asm", 3), ("sd", 3)):
        given = {"L": length, "ttype": letters, "value_mod": modulus}
        count = [len(whole_law(n, modulus, letters)) for n in range(1, length + 1)]
        _, batch = make({**given, **PLAIN}, 40_000, seed=11)
        assert len({row.tobytes() for row in lists(batch["input_ids"])}) == sum(count)
        if letters == "a":
            _, batch = make(given, 40_000, seed=11)
            forms = sum(n * 2 ** (3 + operators) for operators, n in enumerate(count, start=1))
            assert len({row.tobytes() for row in lists(batch["input_ids"])}) == forms


# ---- how rare divisions by zero are


@pytest.mark.parametrize(
    ("modulus", "letters"), [(23, "asmd"), (23, "d"), (2, "d"), (2, "asmd"), (3, "ad"), (5, "md"), (7, "sd")]
)
def test_acceptance_is_the_sum_over_all_values(modulus: int, letters: str) -> None:
    """Two masses follow what the convolution over all values gives, to 1e-12, and fall with the length."""
    given = acceptance(modulus, letters)
    for length in range(25):
        assert abs(given[length] - masses(length, modulus, letters).sum()) < 1e-12
    assert (np.diff(given) <= 1e-15).all()
    assert len(given) == MAX_LENGTH + 1


def test_only_division_redraws() -> None:
    assert np.abs(acceptance(23, "asm") - 1).max() < 1e-9
    assert np.abs(acceptance(2, "d") - 0.5 ** np.arange(MAX_LENGTH + 1)).max() < 1e-12


def test_the_worst_config_that_is_taken_ends_soon() -> None:
    """Modulo 2 only 1 is no zero: 6 divisions pass with 1/64, and every divisor is made of ones."""
    config, batch = make({"ttype": "d", "value_mod": 2, "L": 6, "qa": True, **PLAIN}, 2000, seed=12)
    assert acceptance(2, "d")[6] >= MIN_ACCEPTANCE > acceptance(2, "d")[7]
    first = [prefix_of(tokens) for tokens in lists(batch["input_ids"])]
    assert {value for prefix in first for value in prefix[subtree(prefix, 1) :] if value != "/"} == {1}
    assert check(config) == config


# ---- independence


def test_neighbouring_indices_and_seeds_are_independent() -> None:
    """Lengths at (seed, index) and (seed, index + 1), (seed + 1, index), (seed + 1, index - 1)."""
    one, other = (make({}, 20_001, seed=seed)[1]["length"].to_numpy() for seed in (13, 14))
    for first, second in ((one[:-1], one[1:]), (one, other), (one[1:], other[:-1])):
        chi_square_uniform(Counter((first * 100 + second).tolist()), 100)


def test_no_two_seeds_splits_or_indices_share_a_long_example() -> None:
    """Trap 5 (seed + index): 8 streams of 2,500 examples of 16 operators, all different.

    Two of them are equal with a chance below 23^-17 by the leaves alone.
    """
    seen = set()
    for seed in (0, 1, 2, 3):
        for split in ("train", "test"):
            _, batch = make({"L": 16, "qa": True}, 2500, seed=seed, split=split)
            seen |= {row.tobytes() for row in lists(batch["input_ids"])}
    assert len(seen) == 4 * 2 * 2500
