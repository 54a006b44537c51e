"""The attributes of a person as columns, a text for each: what stands at that value's place."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ..core.batch import column
from .people import BIRTH_CITY, DAY, EMPLOYER, FIRST, LAST, MAJOR, MIDDLE, MONTH, PRONOUN, UNIVERSITY, YEAR
from .pieces import SPANS
from .text import DAYS, MONTHS, PRONOUNS, YEARS, Pools

FIELDS = [column(name, pa.string()) for name in SPANS]


def attributes(pools: Pools, facts: NDArray[np.int32], reverse_md: bool) -> list[pa.StringArray]:
    """The columns of FIELDS for people with these facts (int32 [rows, 12])."""

    def of(values: tuple[str, ...], fact: int) -> pa.StringArray:
        return pa.array(values, pa.string()).take(pa.array(facts[:, fact]))

    month, day, year = of(MONTHS, MONTH), of(DAYS, DAY), of(YEARS, YEAR)
    of_year = (day, "of", month) if reverse_md else (month, day)
    names = (of(pools.first_names, FIRST), of(pools.middle_names, MIDDLE), of(pools.last_names, LAST))
    columns = {
        "name": pc.binary_join_element_wise(*names, " "),
        "birth_date": pc.binary_join_element_wise(pc.binary_join_element_wise(*of_year, " "), year, ", "),
        "birth_city": of(pools.cities, BIRTH_CITY),
        "university": of(pools.universities, UNIVERSITY),
        "major": of(pools.majors, MAJOR),
        "employer": of(pools.employers, EMPLOYER),
        "work_city": of(pools.work_cities, EMPLOYER),
        "pronoun": of(PRONOUNS, PRONOUN),
    }
    return [columns[field.name] for field in FIELDS]
