"""Statistics: additive in any order, the same as plain Python counts, small whatever is counted."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostraca.pipeline.corpus import split_statistics as statistics
from ostraca.pipeline.corpus.split_statistics import KEPT_BITS, MAX_VALUES, Counts, Histogram, Statistics
from ostraca.tasks import TASKS, get_task
from ostraca.tasks.examples import complete_config, generate_batches

STRATA = {
    "depo": {"nodes": "n", "hops": "query_hops"},
    "brevo": {"nodes": "n", "depth": "depth"},
    "mano": {"length": "length", "answer": "answer"},
    "lano": {"length": "length"},
    "capo": {"exposure": "exposure", "person": "person"},
}
INTEGERS = st.integers(-(2**63) + 1, 2**63 - 1) | st.integers(-40, 40)


def as_counter(histogram: Histogram) -> Counter[int]:
    return Counter(dict(zip(histogram.values.tolist(), histogram.counts.tolist(), strict=True)))


def floor_of(value: int) -> int:
    """The value that a coarse histogram counts instead, by Python's integers."""
    shift = max(abs(value).bit_length() - KEPT_BITS, 0)
    return (1 if value >= 0 else -1) * (abs(value) >> shift << shift)


def counted(values: Sequence[int]) -> Histogram:
    return Histogram.of(np.array(values, dtype=np.int64))


@given(st.lists(INTEGERS, max_size=60))
def test_a_histogram_counts_as_python_does(values: list[int]) -> None:
    histogram = counted(values)
    assert as_counter(histogram) == Counter(values)
    assert not histogram.coarse
    assert histogram.total == len(values)
    assert histogram.values.tolist() == sorted(set(values))


@pytest.mark.parametrize("dtype", ["uint8", "int32", "int64", "uint32"])
@pytest.mark.parametrize("wide", [5, 100_000])
def test_any_integer_column_is_counted(dtype: str, wide: int) -> None:
    info = np.iinfo(dtype)
    values = np.clip(np.random.default_rng(0).integers(-wide, wide, 500), info.min, info.max).astype(dtype)
    assert as_counter(Histogram.of(values)) == Counter(values.tolist())


@given(st.lists(st.lists(INTEGERS, max_size=12), min_size=1, max_size=6), st.randoms())
def test_sums_are_the_same_in_any_order_and_grouping(parts: list[list[int]], random: object) -> None:
    """Also where the parts, or only their sum, hold too many different values."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(statistics, "MAX_VALUES", 8)
        every = [value for part in parts for value in part]
        whole = counted(every)
        sums = [counted(part) for part in parts]
        while len(sums) > 1:
            random.shuffle(sums)  # type: ignore[attr-defined]
            sums.append(sums.pop() + sums.pop())
        assert sums[0] == whole
        assert whole.coarse == (len(set(every)) > 8)
        if whole.coarse:
            assert as_counter(whole) == Counter(map(floor_of, every))


def test_a_histogram_of_many_values_stays_small() -> None:
    values = np.arange(-3 * MAX_VALUES, 300 * MAX_VALUES)
    histogram = Histogram.of(values)
    assert histogram.coarse
    assert len(histogram.values) < 400
    assert histogram.total == len(values)


@given(st.lists(INTEGERS, min_size=1, max_size=50, unique=True))
def test_every_value_lies_between_the_edges_of_its_bin(values: list[int]) -> None:
    coarse = counted(values).made_coarse()
    lows, highs = coarse.edges()
    for value in values:
        at = coarse.values.tolist().index(floor_of(value))
        assert lows[at] <= value <= highs[at]
        assert floor_of(int(lows[at])) == floor_of(int(highs[at])) == floor_of(value)
    assert (highs[:-1] < lows[1:]).all()


def batch_of(task: str, count: int, **keys: object) -> pa.RecordBatch:
    made = get_task(task)
    (batch,) = generate_batches(made, complete_config(made, keys, 0), 0, "train", 0, count)
    return batch


@pytest.mark.parametrize("task", TASKS)
def test_batches_of_all_tasks_are_counted_as_plain_python_does(task: str) -> None:
    batch, strata = batch_of(task, 40), STRATA[task]
    for part in (batch, batch.slice(7, 20), batch.slice(3, 0)):
        found, rows = Statistics.of(part, strata), part.to_pylist()
        assert found.rows == len(rows)
        assert found.tokens == sum(len(row["input_ids"]) for row in rows)
        assert found.learned == sum(sum(row["loss_mask"]) for row in rows)
        assert as_counter(found.lengths) == Counter(len(row["input_ids"]) for row in rows)
        for label, column in strata.items():
            values = [row[column] for row in rows]
            flat = [each for value in values for each in value] if column == "query_hops" else values
            assert as_counter(found.strata[label]) == Counter(flat)


def test_texts_are_counted_in_bytes_all_of_them_learned() -> None:
    batch = batch_of("capo", 10, bio="text")
    found, sizes = Statistics.of(batch, {}), [len(text.encode()) for text in batch["text"].to_pylist()]
    assert found.tokens == found.learned == sum(sizes)
    assert as_counter(found.lengths) == Counter(sizes)


@given(st.lists(st.integers(0, 30), min_size=1, max_size=6), st.randoms())
def test_statistics_of_parts_add_up_to_those_of_the_whole(cuts: list[int], random: object) -> None:
    batch = BATCH
    places = sorted({0, batch.num_rows, *cuts})
    parts = [
        Statistics.of(batch.slice(start, stop - start), STRATA["depo"])
        for start, stop in itertools.pairwise(places)
    ]
    random.shuffle(parts)  # type: ignore[attr-defined]
    assert sum(parts, Statistics()) == Statistics.of(batch, STRATA["depo"])


BATCH = batch_of("depo", 30, N=20, K=4, M=5)


def test_what_is_written_as_json_is_read_back_whatever_the_order_of_its_keys() -> None:
    found = Statistics.of(BATCH, STRATA["depo"]) + Statistics(lengths=Histogram.of(np.arange(9000)))
    for sort_keys in (False, True):
        text = json.dumps(found.as_dict(), sort_keys=sort_keys)
        read = Statistics.from_dict(json.loads(text))
        assert read == found
        assert read + found == found + found
    assert Statistics.from_dict(Statistics().as_dict()) == Statistics()


def test_a_stratum_without_its_column_is_an_error() -> None:
    with pytest.raises(KeyError):
        Statistics.of(BATCH, {"depth": "depth"})


def test_counts_know_how_many_rows_are_gone() -> None:
    before, after = Statistics.of(BATCH, {}), Statistics.of(BATCH.slice(2), {})
    assert Counts(before=before, after=after).dropped == 2
