"""Several sources as one stream: each line of a batch is of one of them, chosen by weights that may change.

Which source fills which line of which batch is a pure function of the step, the line and the weights: line b
of step s stands at a point of the circle, and the sources share the circle by their weights. The lines of a
batch stand at even distances, so that every batch holds the mixture to within a line a source; from step to
step they move by the golden section, so that every line, and with it every lane and rank, sees the mixture
too.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..tasks.core.kernels import inlined, kernel
from ..tasks.errors import ConfigError, one_of
from .order import OrderSettings
from .part import Part
from .plan import Slots
from .ranks import Share
from .source import Source

UNITS = ("tokens", "examples")
MOST_PARTS = 128
MOST_STEPS = 1 << 38  # of a schedule
_FULL = 1 << 24  # the largest weight, as an integer
_GOLDEN = np.uint64(2654435769)  # 2^32 divided by the golden ratio
_CIRCLE = np.uint64(0xFFFFFFFF)
_S32 = np.uint64(32)
Weight = float | Sequence[tuple[int, float]]


class Mixture:
    """Sources and their weights, in place of a source.

    parts: name -> (source, weight). A weight is a number, or a schedule: (step, weight) pairs with rising
    steps, in a straight line between them, constant before the first and after the last. by: "tokens", a
    source of weight 2 gives twice the tokens of one of weight 1, or "examples". Each source begins anew, in
    another order, whenever it ends. ConfigError where a weight is none or all are 0 at some step.
    """

    def __init__(self, parts: Mapping[str, tuple[Source, Weight]], *, by: str = "tokens") -> None:
        if not isinstance(parts, Mapping) or not 0 < len(parts) <= MOST_PARTS:
            raise ConfigError(f"a mixture is of 1 to {MOST_PARTS} sources: {{name: (source, weight), ...}}")
        for name, part in parts.items():
            if not isinstance(part, tuple) or len(part) != 2 or not isinstance(part[0], Source):
                raise ConfigError(f"mixture: {name!r} must be (source, weight)")
        self.by = one_of("by", by, UNITS)
        self.sources: dict[str, Source] = {name: source for name, (source, _) in parts.items()}
        self.knots, self.weights = _schedule({name: weight for name, (_, weight) in parts.items()})

    @property
    def vocab_size(self) -> int:
        """No id is larger than this - 1."""
        return max(source.vocab_size for source in self.sources.values())

    @property
    def identity(self) -> Mapping[str, Any]:
        """See `Source`."""
        return {
            "kind": "mixture",
            "by": self.by,
            "steps": self.knots.tolist(),
            "parts": {
                name: {"weights": self.weights[:, number].tolist(), **source.identity}
                for number, (name, source) in enumerate(self.sources.items())
            },
        }

    @property
    def recipe(self) -> Mapping[str, Any]:
        """See `Source`."""
        steps = self.knots.tolist()
        parts = {
            name: {**source.recipe, "weight": list(zip(steps, self.weights[:, number].tolist(), strict=True))}
            for number, (name, source) in enumerate(self.sources.items())
        }
        return {"kind": "mixture", "by": self.by, "parts": parts}


def _schedule(weights: Mapping[str, Any]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The steps at which a weight bends, int64 [knots], and all weights there, [knots, parts]."""
    lines = {name: _line(name, weight) for name, weight in weights.items()}
    knots = np.array(sorted({step for line in lines.values() for step, _ in line}), np.int64)
    table = np.array([[_between(line, step) for line in lines.values()] for step in knots.tolist()])
    empty = np.flatnonzero(table.sum(axis=1) == 0)
    if len(empty):
        raise ConfigError(f"mixture: all weights are 0 at step {knots[empty[0]]}; one must be above 0")
    return knots, table


def _between(line: list[tuple[int, float]], step: int) -> float:
    """The weight at a step; exact before it is rounded, so that all machines have the same."""
    before = max((pair for pair in line if pair[0] <= step), default=line[0])
    after = min((pair for pair in line if pair[0] >= step), default=line[-1])
    if before[0] >= after[0]:
        return before[1]
    part = Fraction(step - before[0], after[0] - before[0])
    return float(Fraction(before[1]) * (1 - part) + Fraction(after[1]) * part)


def _line(name: str, weight: Any) -> list[tuple[int, float]]:
    """A weight as (step, weight) pairs; ConfigError where it is none."""
    said = f"mixture: the weight of {name!r}"
    pairs = weight if isinstance(weight, Sequence) and not isinstance(weight, str) else [(0, weight)]
    line: list[tuple[int, float]] = []
    for pair in pairs:
        if not isinstance(pair, Sequence) or len(pair) != 2:
            raise ConfigError(f"{said} must be a number or [(step, weight), ...], not {weight!r}")
        step, value = pair
        if isinstance(step, bool) or not isinstance(step, int) or not 0 <= step <= MOST_STEPS:
            raise ConfigError(f"{said} has a step {step!r}; steps are integers from 0")
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
            raise ConfigError(f"{said} is {value!r}; it must be a number, 0 or more")
        if line and step <= line[-1][0]:
            raise ConfigError(f"{said}: its steps must rise")
        line.append((step, float(value)))
    if not line:
        raise ConfigError(f"{said} is empty; give a number or [(step, weight), ...]")
    return line


def blend_of(mixture: Mixture, share: Share, orders: Sequence[OrderSettings], parts: Sequence[Part]) -> Blend:
    """The blend of lines that gives tokens, or examples, by the weights of a mixture."""
    of_lines = []
    for order, part in zip(orders, parts, strict=True):
        if mixture.by == "examples" and order.mode == "packed":
            raise ConfigError("rows that were packed hold several examples: mix them by='tokens'")
        if order.mode == "padded":  # a line is an example
            of_lines.append(1.0 if mixture.by == "examples" else 1.0 / max(part.mean_tokens, 1.0))
        else:  # all lines have about the same tokens
            of_lines.append(part.mean_tokens if mixture.by == "examples" else 1.0)
    return Blend(share, mixture.knots, mixture.weights * np.array(of_lines), orders[0].seed)


class Blend:
    """Which part fills which line of which batch, see `plan.Shares`. Made for one run through the steps."""

    def __init__(
        self, share: Share, knots: NDArray[np.int64], weights: NDArray[np.float64], seed: int
    ) -> None:
        """weights: float64 [knots, parts], of lines."""
        self._share, self._knots = share, knots
        self._weights = np.round(weights * (_FULL / weights.max())).astype(np.int64)
        self._places = _places(share.batch_size, seed)
        self._at = 0
        self._lane_of = np.arange(share.first_line, share.first_line + share.lines) // share.lane_lines
        self._counts = np.zeros((weights.shape[1], share.lanes), np.int64)

    def slots(self, steps: NDArray[np.int64]) -> Iterator[Slots]:
        """See `plan.Shares`."""
        share = self._share
        lanes = [lane for lane, _, _ in share.own_lanes()]
        own = np.array([share.first_line, share.lines], np.int64)
        span = np.array([lanes[0], lanes[-1] + 1, share.lane_lines], np.int64)
        every = int(steps[1] - steps[0]) if len(steps) > 1 else 1
        none = np.empty((0, 0), np.int64)
        ends = np.empty(self._weights.shape[1], np.uint64)
        law = self._knots, self._weights, self._places, span, own, ends
        _fill(self._at, int(steps[0]), 1, *law, self._counts, none, none)
        parts, counts = (np.empty((len(steps), share.lines), np.int64) for _ in range(2))
        stop = int(steps[-1]) + 1
        _fill(int(steps[0]), stop, every, *law, self._counts, parts, counts)
        self._at = stop
        # Lane by lane, and in a lane part by part, the places come in the order of the steps.
        amount = self._weights.shape[1]
        keys = (self._lane_of * amount + parts).ravel()
        order = np.argsort(keys, kind="stable")
        targets = np.arange(len(steps) * share.lines)[order]
        numbers = counts.ravel()[order]
        ends = np.cumsum(np.bincount(keys, minlength=share.lanes * amount)).tolist()
        begin = 0
        for key, end in enumerate(ends):
            if end > begin:
                lane, part = divmod(key, amount)
                yield Slots(part=part, lane=lane, counts=numbers[begin:end], targets=targets[begin:end])
                begin = end


def _places(batch_size: int, seed: int) -> NDArray[np.uint64]:
    """Where the lines of a batch stand on the circle at step 0: evenly, neighbours far apart."""
    step = max(1, round(batch_size * 0.6180339887498949))
    while math.gcd(step, batch_size) > 1:
        step += 1
    turned = np.arange(batch_size, dtype=np.uint64) * np.uint64(step) % np.uint64(batch_size)
    start = int.from_bytes(hashlib.blake2b(f"mixture {seed}".encode(), digest_size=4).digest(), "little")
    places: NDArray[np.uint64] = (turned << _S32) // np.uint64(batch_size) + np.uint64(start)
    return places & _CIRCLE


@inlined
def _weight(knots, weights, part, step, after):
    """The weight of a part at a step, where knots[after] is the first knot behind it."""
    if after == 0:
        return weights[0, part]
    if after == len(knots):
        return weights[after - 1, part]
    begin, end = knots[after - 1], knots[after]
    return (weights[after - 1, part] * (end - step) + weights[after, part] * (step - begin)) // (end - begin)


@kernel
def _fill(first, stop, every, knots, weights, places, span, own, ends, counts, parts, numbers):
    """Go through steps first..stop-1 and count the lines of each part in each lane: counts [parts, lanes].

    Of every `every`-th step, write which part each of the lines own[0]..own[0] + own[1] - 1 is of, and
    which of the part's lines in its lane: parts, numbers [steps, lines]; or of shape [0, 0].
    ends uint64 [parts]: scratch.
    """
    amount = len(ends)
    wanted = len(parts) > 0
    after = 0
    for step in range(first, stop):
        while after < len(knots) and knots[after] <= step:
            after += 1
        total = np.uint64(0)
        for part in range(amount):
            total += np.uint64(_weight(knots, weights, part, step, after))
            ends[part] = total
        if total == 0:
            # Weights so far apart that they round to nothing between two knots: the first part.
            total = np.uint64(1)
            for part in range(amount):
                ends[part] = total
        moved = np.uint64(step) * _GOLDEN
        row = (step - first) // every
        noted = wanted and (step - first) % every == 0
        for line in range(span[0] * span[2], span[1] * span[2]):
            point = ((places[line] + moved) & _CIRCLE) * total
            part = 0
            while point >= ends[part] << _S32:
                part += 1
            lane = line // span[2]
            if noted and own[0] <= line < own[0] + own[1]:
                parts[row, line - own[0]] = part
                numbers[row, line - own[0]] = counts[part, lane]
            counts[part, lane] += 1
