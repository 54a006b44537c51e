"""Print what each task makes of its small configs, and what its validator says of it, as JSON.

`test_ranges.py` runs this with the kernels compiled and as plain Python, which must not differ.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import numba
from facts import FACTS
from facts.kinds import Facts, replaced

from ostraca.tasks.core.batch import rows_of
from ostraca.tasks.core.permutation import shuffled


def made_and_judged(facts: Facts) -> dict[str, Any]:
    rows, verdicts, more = [], [], []
    for place, given in enumerate(facts.plainly.values()):
        config, batch = facts.make(given, facts.plain_rows)
        rows.append(rows_of(batch))
        column = facts.plain_damaged
        content = batch.schema.names[0]
        edited = [value[:-3] + value[-2:] for value in batch[content].to_pylist()]
        others = [(replaced(batch, column, batch[column].to_pylist()[::-1]), config)]
        others += [(replaced(batch, content, edited).select([content]), config)]
        others += [(batch, facts.complete({**config, **other})) for other in facts.plain_others]
        said = [facts.task.validate(part, its) for part, its in ((batch, config), *others)]
        verdicts.append([(one.codes.tolist(), one.positions.tolist()) for one in said])
        if facts.plain_more is not None:
            more.append(facts.plain_more(place, config, batch))
    return {"rows": rows, "verdicts": verdicts, "more": more}


if __name__ == "__main__":
    assert bool(numba.config.DISABLE_JIT) == bool(int(sys.argv[1]))
    found: dict[str, Any] = {name: made_and_judged(facts) for name, facts in FACTS.items()}
    found["order"] = shuffled(50, "order", 1).tolist()
    print(json.dumps(found))
