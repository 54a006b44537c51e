"""Conditions on the columns of a corpus, e.g. "n <= 20 and max(query_hops) <= 4": which rows are read."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ..tasks.core.batch import unragged
from ..tasks.errors import ConfigError, nearest

_LONGEST = 2000  # characters
_EXAMPLE = "e.g. where='n <= 20 and max(query_hops) <= 4'"
_COMPARED: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.In: lambda left, right: np.isin(left, right),
    ast.NotIn: lambda left, right: ~np.isin(left, right),
}
_COMPUTED: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
_OF_LISTS: Mapping[str, Any] = {"min": np.minimum, "max": np.maximum, "sum": np.add, "len": None}


class Where:
    """A condition on rows: comparisons of columns, numbers and texts, joined by and, or, not.

    Of columns with a list a row min(), max(), sum() or len() is compared. ConfigError where it cannot be
    read.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        if not isinstance(text, str) or not 0 < len(text) <= _LONGEST:
            raise ConfigError(f"where={text!r} must be a condition, {_EXAMPLE}")
        try:
            self._tree = ast.parse(text.strip(), mode="eval").body
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            raise ConfigError(f"where={text!r} cannot be read; {_EXAMPLE}") from None
        for node in ast.walk(self._tree):
            if not isinstance(node, _ALLOWED):
                raise ConfigError(
                    f"where={text!r}: {type(node).__name__.lower()} is not allowed; compare columns with "
                    f"numbers, {_EXAMPLE}"
                )
        called = {id(node.func) for node in ast.walk(self._tree) if isinstance(node, ast.Call)}
        names = [node for node in ast.walk(self._tree) if isinstance(node, ast.Name)]
        self.names = tuple(dict.fromkeys(node.id for node in names if id(node) not in called))
        if not self.names:
            raise ConfigError(f"where={text!r} names no column; {_EXAMPLE}")

    def check(self, where: str, schema: pa.Schema) -> None:
        """ConfigError where the columns of a schema cannot be asked so."""
        known = [name for name in schema.names if name not in ("input_ids", "loss_mask", "text")]
        for name in self.names:
            if name not in known:
                raise ConfigError(
                    f"{where}: where={self.text!r}: no column {name!r}{nearest(name, known)}; it has "
                    f"{', '.join(known)}"
                )
        try:
            self.mask(pa.RecordBatch.from_pylist([], schema=schema))
        except ConfigError as error:
            raise ConfigError(f"{where}: {error}") from None

    def mask(self, batch: pa.RecordBatch) -> NDArray[np.bool_]:
        """Which rows it is true of: bool [rows]."""
        columns = {name: _column(batch.column(name)) for name in self.names}
        try:
            found = np.asarray(self._value(self._tree, columns))
        except (TypeError, ZeroDivisionError, np.exceptions.DTypePromotionError):
            raise ConfigError(f"where={self.text!r} compares things of different kinds; {_EXAMPLE}") from None
        if found.dtype != np.bool_:
            raise ConfigError(f"where={self.text!r} is a value, not a condition; {_EXAMPLE}")
        mask: NDArray[np.bool_] = np.broadcast_to(found, batch.num_rows)
        return mask

    def _value(self, node: ast.AST, columns: Mapping[str, Any]) -> Any:
        if isinstance(node, ast.Constant):
            if isinstance(node.value, bool) or not isinstance(node.value, int | float | str):
                raise TypeError
            return node.value
        if isinstance(node, ast.Name):
            value = columns[node.id]
            if isinstance(value, tuple):
                raise ConfigError(
                    f"where={self.text!r}: {node.id} holds a list a row; say max({node.id}), min, sum or len"
                )
            return value
        if isinstance(node, ast.Tuple | ast.List):
            return np.array([self._value(element, columns) for element in node.elts])
        if isinstance(node, ast.UnaryOp):
            operand = self._value(node.operand, columns)
            if not isinstance(node.op, ast.Not):
                return operator.neg(operand)
            if np.asarray(operand).dtype != np.bool_:
                raise TypeError
            return ~operand
        if isinstance(node, ast.BoolOp):
            joined = [np.asarray(self._value(value, columns)) for value in node.values]
            if any(value.dtype != np.bool_ for value in joined):
                raise TypeError
            join = np.logical_and if isinstance(node.op, ast.And) else np.logical_or
            return join.reduce(np.broadcast_arrays(*joined))
        if isinstance(node, ast.BinOp):
            with np.errstate(divide="raise", invalid="raise"):
                try:
                    return _COMPUTED[type(node.op)](
                        self._value(node.left, columns), self._value(node.right, columns)
                    )
                except FloatingPointError:
                    raise ConfigError(f"where={self.text!r} divides by 0") from None
        if isinstance(node, ast.Compare):
            left, results = self._value(node.left, columns), []
            for op, comparator in zip(node.ops, node.comparators, strict=True):
                right = self._value(comparator, columns)
                if isinstance(op, ast.In | ast.NotIn) != isinstance(comparator, ast.Tuple | ast.List):
                    raise TypeError
                if np.asarray(left).dtype.kind in "US" and np.asarray(right).dtype.kind not in "US":
                    raise TypeError
                results.append(np.asarray(_COMPARED[type(op)](left, right)))
                left = right
            return np.logical_and.reduce(np.broadcast_arrays(*results))
        assert isinstance(node, ast.Call)
        name = node.func.id if isinstance(node.func, ast.Name) else ""
        asked = node.args[0] if len(node.args) == 1 and not node.keywords else None
        value = columns.get(asked.id) if isinstance(asked, ast.Name) else None
        if name not in _OF_LISTS or not isinstance(value, tuple):
            raise ConfigError(
                f"where={self.text!r}: {name or 'this'}() is not for this; min(), max(), sum() and len() "
                "take one column that holds a list a row"
            )
        return _of_lists(name, *value)


_ALLOWED = (
    ast.BoolOp,
    ast.And,
    ast.Or,
    ast.UnaryOp,
    ast.Not,
    ast.USub,
    ast.BinOp,
    *_COMPUTED,
    ast.Compare,
    *_COMPARED,
    ast.Call,
    ast.Name,
    ast.Load,
    ast.Constant,
    ast.Tuple,
    ast.List,
)


def _column(array: pa.Array) -> Any:
    """A column's values; of lists, the values and where each row begins."""
    if pa.types.is_list(array.type):
        values, offsets = unragged(array)
        return values[offsets[0] : offsets[-1]].astype(np.int64), offsets.astype(np.int64) - offsets[0]
    if pa.types.is_string(array.type):
        return np.array(array.to_pylist(), dtype=np.str_)
    return array.to_numpy(zero_copy_only=False)


def _of_lists(name: str, values: NDArray[np.int64], offsets: NDArray[np.int64]) -> NDArray[Any]:
    """One number a row; NaN, of which nothing is true, for the least or largest of none."""
    lengths = np.diff(offsets)
    if name == "len":
        return lengths
    held = lengths > 0
    found = np.full(len(lengths), 0.0 if name == "sum" else np.nan)
    if held.any():
        found[held] = _OF_LISTS[name].reduceat(values, offsets[:-1][held])
    return found
