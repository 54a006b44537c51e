"""Columns of a person's attributes against the person whom the text is about: a part of the validator.

Each text is looked up among those that a fact can be; only names and dates are put together, for they are
too many.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from .people import BIRTH_CITY, DAY, EMPLOYER, FIRST, LAST, MAJOR, MIDDLE, MONTH, PRONOUN, UNIVERSITY, YEAR
from .text import DAYS, MONTHS, PRONOUNS, YEARS, Pools

NAMES = ("name", "birth_date", "birth_city", "university", "major", "employer", "work_city", "pronoun")


def told_columns(batch: pa.RecordBatch) -> dict[str, pa.StringArray]:
    """Those columns of a batch that say an attribute."""
    return {name: batch.column(name).cast(pa.string()) for name in NAMES if name in batch.schema.names}


def untrue(
    columns: Mapping[str, pa.StringArray],
    rows: NDArray[np.int64],
    facts: NDArray[np.int32],
    pools: Pools,
    reverse_md: bool,
) -> NDArray[np.bool_]:
    """Which of `rows` have a column that is not true of people with these facts (int32 [rows, 12])."""
    wrong = np.zeros(len(rows), dtype=bool)
    among = {
        "birth_city": (pools.cities, BIRTH_CITY),
        "university": (pools.universities, UNIVERSITY),
        "major": (pools.majors, MAJOR),
        "employer": (pools.employers, EMPLOYER),
        "work_city": (pools.work_cities, EMPLOYER),
        "pronoun": (PRONOUNS, PRONOUN),
    }
    for name, column in columns.items():
        told = column.take(pa.array(rows))
        if name in among:
            texts, fact = among[name]
            known = pa.array(texts, pa.string())
            first = pc.index_in(known, known).to_numpy()  # of texts that come up twice
            places = pc.index_in(told, known).fill_null(-1).to_numpy(zero_copy_only=False)
            wrong |= places != first[facts[:, fact]]
        else:
            whole = _name(facts, pools) if name == "name" else _date(facts, reverse_md)
            wrong |= pc.not_equal(told, whole).to_numpy(zero_copy_only=False)
    return wrong


def _name(facts: NDArray[np.int32], pools: Pools) -> pa.StringArray:
    parts = ((pools.first_names, FIRST), (pools.middle_names, MIDDLE), (pools.last_names, LAST))
    words = [pa.array([f"{text} " for text in texts]).take(pa.array(facts[:, fact])) for texts, fact in parts]
    return pc.utf8_rtrim(pc.binary_join_element_wise(*words, ""), " ")


def _date(facts: NDArray[np.int32], reverse_md: bool) -> pa.StringArray:
    """Day and month are one of 336 texts."""
    days = [f"{day} of {month}, " if reverse_md else f"{month} {day}, " for month in MONTHS for day in DAYS]
    of_year = pa.array(days).take(pa.array(facts[:, MONTH] * len(DAYS) + facts[:, DAY]))
    return pc.binary_join_element_wise(of_year, pa.array(YEARS).take(pa.array(facts[:, YEAR])), "")
