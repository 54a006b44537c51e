"""Running the probability kernels of Lano: their scratch, and the scales that keep weights near 1."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..base import INT32_MAX
from ..errors import OstracaError
from .grammar import Grammar
from .rows import predict_rows, weigh_rows
from .tables import Tables, tables_of


class Weights:
    """Weights of the sentences of one batch under a grammar whose rules weigh `weights` each.

    weights float64 [symbols of levels 1 and up]. The batch: tokens int32, begins and lengths int64 [rows].
    """

    def __init__(
        self, grammar: Grammar, weights: NDArray[np.float64], tokens: Any, begins: Any, lengths: Any
    ) -> None:
        self._grammar = grammar
        self._weights, self._log_weights = weights, np.log(weights)
        self._batch = read_only(tokens), begins, lengths
        self._tables = tables = tables_of(grammar)
        self.longest = n = min(int(lengths.max(initial=0)), tables.longest)
        self._word, self._cells, self._stamps, self._reach = chart(tables, n)
        self._prefixes = np.empty((len(tables.prefix_left) * (n + 1), 2), dtype=np.int32)
        self._sums = np.empty(n + 2)
        self._outer = np.empty(int(tables.sizes[0] + tables.bases[-1]) * (n + 1))
        nodes = len(tables.node_parent)
        self._nodes = np.empty((nodes, 2)), np.empty(nodes, dtype=np.int32)
        self._room = first_room(tables, n)

    def typical(self) -> NDArray[np.float64]:
        """Whole exponents float64 [longest + 1] of the tokens before: typical prefixes stay near 1."""
        bits = self._grammar.derivation_bits / self._grammar.mean_length
        return np.asarray(np.rint(bits * np.arange(self.longest + 1)))

    def weigh(self, row: int, stop: int, exponents: NDArray[np.float64] | None, totals: Any) -> None:
        """Each sentence's weight times 2^exponents[its length] to totals float64 [rows], NaN where not exact.

        Without exponents: its natural logarithm, exact for all.
        """
        while row < stop:
            row = weigh_rows(
                *self._batch,
                row,
                stop,
                self._tables,
                *self._units(exponents),
                totals,
                np.ones(1, dtype=np.uint8),
                *self._scratch(),
            )
            self._room = self._room if row == stop else more_room(self._room)

    def predict(self, row: int, stop: int, logs: bool, places: Any, shares: Any) -> tuple[int, bool]:
        """See `predict_rows`: the row it stopped at, and False where that was for its weights."""
        healthy = np.ones(1, dtype=np.uint8)
        units = self._units(None if logs else self.typical())
        while row < stop:
            row = predict_rows(
                *self._batch,
                row,
                stop,
                places,
                self._tables,
                *units,
                shares,
                healthy,
                *self._scratch(),
                self._outer,
                *self._nodes,
            )
            if not healthy[0]:
                return row, False
            self._room = self._room if row == stop else more_room(self._room)
        return row, True

    def _units(self, exponents: NDArray[np.float64] | None) -> tuple[Any, ...]:
        """weights, scales and logs, as the kernels take them."""
        if exponents is None:
            return self._log_weights, np.zeros(self.longest), True
        return self._weights, np.exp2(np.diff(exponents)), None

    def _scratch(self) -> tuple[Any, ...]:
        ends, values = np.empty(self._room, dtype=np.int32), np.empty(self._room)
        return self._word, self._cells, ends, values, self._prefixes, self._sums, self._stamps, self._reach


def chart(tables: Tables, n: int) -> tuple[Any, ...]:
    """word, cells, stamps and reach for sentences of up to n tokens; see `tasks.lano.spans`."""
    cells = np.empty((int(tables.bases[-1]) * (n + 1), 2), dtype=np.int32)
    stamps, reach = np.zeros(n + 2, dtype=np.int64), np.empty(n + 1, dtype=np.uint8)
    return np.empty(n + 1, dtype=np.int32), cells, stamps, reach


def first_room(tables: Tables, n: int) -> int:
    """Ends that a sentence of n tokens mostly needs room for."""
    return int(2 * tables.list_room.max()) + 16 * (n + 1)


def more_room(room: int) -> int:
    """Room for twice as many ends; OstracaError where they cannot be numbered any more."""
    if 2 * room > INT32_MAX:
        raise OstracaError(
            "a sentence has over 2^30 spans under this grammar, in which nearly everything spans nearly "
            "everything; use one with shorter sentences or fewer alternatives"
        )
    return 2 * room


def read_only(array: NDArray[Any]) -> NDArray[Any]:
    """A view that cannot be written to, as Arrow's arrays: kernels are compiled once."""
    view = array.view()
    view.flags.writeable = False
    return view
