"""What the tests of content share: crowded little spaces, batches of given tokens, fingerprints as a list."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from ostraca.tasks import get_task
from ostraca.tasks.core.batch import column, list_type, ragged
from ostraca.tasks.examples import complete_config, stream_of

# Families of configs that say the same things with other ids and forms, in spaces so small that most
# problems come up again.
CROWDED: dict[str, list[dict[str, Any]]] = {
    "depo": [
        {"N": 3, "mini_vocab": 2, "M": 2, "K": 2},
        {"N": 4, "mini_vocab": 2, "M": 1, "K": 3, "separator": True, "qa": True},
        {"N": 3, "mini_vocab": 2, "M": 2, "K": 4, "query_token_base": 20, "answer_token_id": 5},
        {"N": 3, "mini_vocab": 2, "M": 2, "separator": True, "separator_token_id": 0, "bos_token_id": 7},
        {"N": 3, "mini_vocab": 3, "M": 1, "K": 2, "max_tlen": 1},
        {"N": 3, "mini_vocab": 1, "M": 2, "K": 2, "max_tlen": 4},
    ],
    "brevo": [
        {"N": 4},
        {"N": 4, "query": "last_quarter", "qa": True, "bos_token_id": 5, "query_token_id": 0},
        {"N": 5, "max_in": 1, "eos_token_id": 10_000},
        {"N": 3, "multi": True, "mini_vocab": 2, "min_tlen": 1, "max_tlen": 2},
        {"N": 3, "multi": True, "mini_vocab": 2, "min_tlen": 2, "max_tlen": 2, "bos_token_id": 5},
        {"N": 4, "multi": True, "mini_vocab": 4, "min_tlen": 1, "max_tlen": 1},
    ],
    "mano": [
        {"L": 2, "ttype": "asmd", "value_mod": 3},
        {"L": 2, "ttype": "asmd", "value_mod": 3, "knowledge_augment": False, "bos_token_id": 70},
        {"L": 3, "ttype": "am", "value_mod": 2, "qa": True},
        {"L": 6, "ttype": "a", "value_mod": 2, "fixed_length": 4},
        {"L": 1, "value_mod": 23},
    ],
    "lano": [
        {"grammar": "7 -> 5 6 | 6 5 | 5 5 6\n5 -> 1 | 1 1 | 2\n6 -> 1 | 1 2\n"},
        {"grammar": "7 -> 5 6 | 6 5 | 5 5 6\n5 -> 1 | 1 1 | 2\n6 -> 1 | 1 2\n", "bos": False, "eos": True},
        {"grammar": "5 -> 4 | 4 4\n4 -> 3 | 3 3\n3 -> 1 | 2 1\n", "bos_token_id": 9, "eos": True},
        {"grammar": "9 -> 1 2 | 2 | 1 1 2 3\n", "bos": False},
    ],
}
FAMILIES = [(task, place) for task, configs in CROWDED.items() for place in range(len(configs))]


def made(task: str, given: Mapping[str, Any], rows: int) -> tuple[dict[str, Any], pa.RecordBatch]:
    """The complete config, and its examples 0..rows-1."""
    known = get_task(task)
    config = complete_config(known, given, 1)
    return config, known.generate(config, stream_of(known, config, 1, "train"), np.arange(rows))


def batch_of(rows: Sequence[Sequence[int]]) -> pa.RecordBatch:
    """A batch of these tokens, and no other column."""
    offsets = np.cumsum([0, *map(len, rows)], dtype=np.int32)
    tokens = np.array([token for row in rows for token in row], dtype=np.int32)
    schema = pa.schema([column("input_ids", list_type(pa.int32()))])
    return pa.RecordBatch.from_arrays([ragged(tokens, offsets)], schema=schema)


def contents(task: str, config: Mapping[str, Any], batch: pa.RecordBatch) -> list[tuple[int, int]]:
    """The content fingerprints of a batch, to be compared and counted."""
    ask = get_task(task).content
    assert ask is not None
    return list(map(tuple, ask(batch, config).tolist()))
