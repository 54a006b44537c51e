"""For tasks of one's own, in plain Python and NumPy: one function makes an example, another solves it again.

    from ostraca.tasks.own import Key, Task, Wrong, example_schema, generate_each, validate_each

See examples/parity. An example a call is slower than a kernel that makes a batch (under ten thousand examples
a second and core); a task that outgrows it writes `generate` and `validate` itself, with `tasks.core`. Where
to solve an example takes far longer than to make it, `proofs` let a build check what the generator hands over
with it instead: a way to the answer, say, which is quickly followed (see `tasks.base.Proofs`; `tasks.lano`
has some). A kernel of one's own stands in the same file as the helpers that it inlines, or its cache would
not notice that they changed (see `tasks.core.kernels`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from .auditing import Audit, Law, Pair, fitting, uniform
from .base import Key, Look, Paper, Proofs, Task, Verdicts, check_keys
from .core.batch import column, list_type, rows_of, unragged
from .core.rng import numpy_generator
from .errors import ConfigError

__all__ = [
    "Audit",
    "ConfigError",
    "Key",
    "Law",
    "Look",
    "Pair",
    "Paper",
    "Proofs",
    "Task",
    "Verdicts",
    "Wrong",
    "check_keys",
    "example_schema",
    "fitting",
    "generate_each",
    "numpy_generator",
    "uniform",
    "unragged",
    "validate_each",
]

Config = Mapping[str, Any]


class Wrong(Exception):  # noqa: N818 (it is said of an example; nothing is wrong with the program)
    """Raised by a solver: why an example is not valid, and at which of its tokens that is seen."""

    def __init__(self, reason: str, at: int = 0) -> None:
        self.reason, self.at = reason, at
        super().__init__(reason)


def example_schema(**metadata: pa.DataType) -> pa.Schema:
    """The columns of a task's examples: those that every task has, then its own; none is ever null."""
    types = {"input_ids": list_type(pa.int32()), "loss_mask": list_type(pa.uint8()), "index": pa.int64()}
    return pa.schema([column(name, kind) for name, kind in {**types, **metadata}.items()])


def generate_each(
    schema: pa.Schema, make: Callable[[Config, np.random.Generator], Mapping[str, Any]]
) -> Callable[[Config, NDArray[np.uint64], NDArray[np.int64]], pa.RecordBatch]:
    """A task's `generate`: `make(config, random)` gives each column of one example but its index.

    random: the example's own stream, from which all of its draws must come.
    """

    def generate(config: Config, key: NDArray[np.uint64], indices: NDArray[np.int64]) -> pa.RecordBatch:
        rows = [{**make(config, numpy_generator(key, index)), "index": index} for index in indices.tolist()]
        return pa.RecordBatch.from_pylist(rows, schema=schema)

    return generate


def validate_each(
    solve: Callable[[Config, list[int]], Mapping[str, Any]],
) -> Callable[[pa.RecordBatch, Config], Verdicts]:
    """A task's `validate`: `solve(config, tokens)` gives the columns that follow from one example's tokens.

    It raises `Wrong` where they are no example: tokens may be any int32, and none at all. Whatever of these
    columns a batch has must be the same. `solve` shares no code with what makes the examples.
    """

    def validate(batch: pa.RecordBatch, config: Config) -> Verdicts:
        codes, positions = np.zeros(batch.num_rows, np.int32), np.zeros(batch.num_rows, np.int64)
        messages = {"": 0}
        for row, example in enumerate(rows_of(batch)):
            try:
                _compare(example, solve(config, example["input_ids"]))
            except Wrong as wrong:
                codes[row] = messages.setdefault(wrong.reason, len(messages))
                positions[row] = wrong.at
        return Verdicts(codes=codes, positions=positions, messages=tuple(messages))

    return validate


def _compare(example: Mapping[str, Any], solved: Mapping[str, Any]) -> None:
    """Wrong where a column of an example is not what it should be."""
    for name, should_be in solved.items():
        if name not in example:
            continue
        value = example[name]
        if not isinstance(value, list):
            if value != should_be:
                raise Wrong(f"{name} is {value}, not {should_be}")
            continue
        if len(value) != len(should_be):
            raise Wrong(f"{name} has another length than it should")
        for at, (one, other) in enumerate(zip(value, should_be, strict=True)):
            if one != other:
                raise Wrong(f"{name} is not what the tokens say", at)
