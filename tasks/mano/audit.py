"""What `ostraca audit` holds Mano to: the expression, a place and neighbouring operands chosen in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ..auditing import BINS, Audit, Law, Pair, coins, fitting, uniform
from ..core.batch import unragged
from ..core.kernels import kernel
from .config import FIRST_VALUE, lengths_of
from .laws import SHAPED, SHAPES, Masses, can_follow, distinct_law, expression_laws, letters_at

_UNIT = "example"
_MOST_VALUES = 64  # told apart; of more, the remainder
# What `_read` finds in an example, a column each; then how often each of "+-*/" comes. `place`, `token`,
# `size` and `node_left` are of a place chosen in the expression, `left` and `operator` of its root.
_FACTS = (
    *("operators", "answer", "place", "token", "size", "node_left", "alias", "left", "depth", "shape"),
    *("first", "last", "operand", "next", "distinct", "aliases", "bos_alias", "len_alias", "ans_alias"),
    "operator",
)


def audit_of(config: Mapping[str, Any]) -> Audit:
    """The declarations for a config."""
    letters, modulus, lengths = config["ttype"], config["value_mod"], lengths_of(config)
    longest, values = lengths[-1], min(modulus, _MOST_VALUES)
    columns = {
        "operators": len(lengths),
        "answer": values,
        "place": 2 * longest + 1,
        "token": len(letters) + values,
        "kind": len(letters) + 1,
        "operator": len(letters),
        "size": longest + 1,
        "node_left": longest + 1,
        "left": longest + 1,
        "depth": longest + 1,
        "shape": SHAPES,
        "distinct": longest + 2,
        "aliases": longest + 4,
        **dict.fromkeys(("first", "last", "operand", "next"), values),
        **dict.fromkeys(("alias", "bos_alias", "len_alias", "ans_alias"), 2),
        **{f"count_{letter}": longest + 1 for letter in letters},
        "index": BINS,
    }
    coin = uniform(2) if config["knowledge_augment"] else np.array([1.0, 0.0])
    flips = np.zeros((len(lengths), longest + 4))
    for row, length in enumerate(lengths):
        flips[row, 0] = 1.0
        for _ in range(length + 3 if config["knowledge_augment"] else 0):
            flips[row] = (flips[row] + np.concatenate([[0.0], flips[row, :-1]])) / 2
    laws = [_law("operators", uniform(len(lengths))), _law("aliases", flips, "operators")]
    laws += [_law(f"{name}alias", coin) for name in ("", "bos_", "len_", "ans_")]
    pairs = [
        *(_pair(f"{name}alias", "answer", "operators") for name in ("", "bos_", "len_", "ans_")),
        *(_pair("bos_alias", target) for target in ("operators", "len_alias", "ans_alias", "alias")),
        *(_pair("aliases", target, "operators") for target in ("answer", "first", "operator")),
        *(_pair("alias", target) for target in ("operator", "place", "token")),
        *(_pair("index", target) for target in ("operators", "answer", "first", "last", "token")),
    ]
    if "d" not in letters:
        laws += _plain_laws(columns, letters, modulus, lengths)
        pairs += [
            _pair("operand", "next"),
            _pair("first", "last"),
            *(_pair("operator", target) for target in ("operand", "first", "last", "operators")),
            *(_pair("left", target, "operators") for target in ("operator", "first", "last")),
            *(_pair("distinct", target, "operators") for target in ("operator", "left", "depth")),
        ]
    if can_follow(modulus, longest) and values == modulus:
        more = _followed(letters, modulus, lengths, columns)
        laws, pairs = laws + more[0], pairs + more[1]
    watched = ("bos_alias", "operators", "answer", "operator", "first", "last", "left", "aliases")
    return fitting(
        columns={_UNIT: columns},
        tables=lambda batch: {_UNIT: _table(batch, config)},
        laws=laws,
        pairs=pairs,
        neighbours=[(_UNIT, column) for column in watched],
    )


def _plain_laws(columns: Mapping[str, int], letters: str, modulus: int, lengths: Sequence[int]) -> list[Law]:
    """Where nothing is redrawn, all is as it is drawn."""
    operand = np.bincount(np.arange(modulus) % columns["first"]) / modulus
    laws = [_law(name, operand) for name in ("first", "last", "operand", "next")]
    laws.append(_law("operator", uniform(len(letters))))
    uniform_to = np.full((lengths[-1] + 1, lengths[-1] + 1), np.nan)
    for size in range(1, lengths[-1] + 1):
        uniform_to[size] = np.where(np.arange(lengths[-1] + 1) < size, 1.0 / size, 0.0)
    laws.append(_law("node_left", uniform_to, "size"))
    laws.append(_law("left", uniform_to[list(lengths)], "operators"))
    different = [distinct_law(modulus, length + 1, columns["distinct"]) for length in lengths]
    laws.append(_law("distinct", np.stack(different), "operators"))
    return laws


def _followed(
    letters: str, modulus: int, lengths: Sequence[int], columns: Mapping[str, int]
) -> tuple[list[Law], list[Pair]]:
    """Laws that are worked out by recursion, and what each surface feature tells of the answer by them."""
    known = expression_laws(modulus, letters, lengths[-1])
    kinds = len(letters)
    places = columns["place"]

    def placed(masses: list[Masses]) -> NDArray[np.float64]:
        """P(value | operators, place): NaN beyond the end."""
        law = np.full((len(lengths), places, masses[0].shape[1]), np.nan)
        for row, length in enumerate(lengths):
            law[row, : 2 * length + 1] = _shares(masses[length].sum(-1))
        return law

    features: dict[str, list[Masses]] = {
        "first": known.first,
        "last": known.last,
        "left": known.left,
        "depth": known.depth,
        "token": [law.mean(0) for law in known.token],
        "operator": [law[0, :kinds] for law in known.token],
        "size": [law.mean(0) for law in known.size],
        **{f"count_{letter}": known.counts[which] for which, letter in enumerate(letters)},
    }
    laws = [
        _law("answer", np.stack([_shares(known.answer[length]) for length in lengths]), "operators"),
        _law("token", placed(known.token), "operators", "place"),
        _law("size", placed(known.size), "operators", "place"),
    ]
    pairs = []
    for name, masses in features.items():
        shares = np.stack([masses[length] for length in lengths])
        if name not in ("token", "size"):  # those are told place by place
            laws.append(_law(name, _shares(shares.sum(-1)), "operators"))
        pairs.append(_pair(name, "answer", "operators", law=_shares(shares)))
    kind = [np.concatenate([law[:, :kinds], law[:, kinds:].sum(1, keepdims=True)], 1) for law in known.token]
    law = np.full((len(lengths), places, kinds + 1, modulus), np.nan)
    for row, length in enumerate(lengths):
        law[row, : 2 * length + 1] = _shares(kind[length])
    pairs.append(_pair("kind", "answer", "operators", "place", law=law))
    short = [(row, length) for row, length in enumerate(lengths) if length <= SHAPED]
    for name, masses, size in (("shape", known.shape, SHAPES), ("distinct", known.distinct, 4)):
        shape_law = np.full((len(lengths), size), np.nan)
        pair_law = np.full((len(lengths), columns[name], modulus), np.nan)
        for row, length in short:
            if length < len(masses):
                shape_law[row] = _shares(masses[length].sum(-1))
                width = min(size, columns[name])
                pair_law[row, :width] = _shares(masses[length])[:width]
        if name == "shape" and short:
            laws.append(_law(name, shape_law, "operators"))
        if not np.isnan(pair_law).all():
            pairs.append(_pair(name, "answer", "operators", law=pair_law))
    return laws, pairs


def _shares(masses: NDArray[np.float64]) -> NDArray[np.float64]:
    """Masses divided by their sum over the last axis; NaN where that is 0."""
    total = masses.sum(-1, keepdims=True)
    shares = np.full_like(masses, np.nan)
    np.divide(masses, total, out=shares, where=total > 0)
    return shares


def _law(column: str, law: NDArray[np.float64], *given: str) -> Law:
    return Law(unit=_UNIT, column=column, law=law, given=given)


def _pair(feature: str, target: str, *given: str, law: NDArray[np.float64] | None = None) -> Pair:
    return Pair(unit=_UNIT, feature=feature, target=target, given=given, law=law)


def _table(batch: pa.RecordBatch, config: Mapping[str, Any]) -> dict[str, NDArray[np.int64]]:
    letters, modulus, lengths = config["ttype"], config["value_mod"], lengths_of(config)
    tokens, offsets = unragged(batch.column("input_ids"))
    index = batch.column("index").to_numpy()
    longest = int(np.diff(offsets).max(initial=5))
    facts = np.empty((batch.num_rows, len(_FACTS) + 4), dtype=np.int64)
    _read(
        tokens,
        offsets,
        np.stack([coins(index, salt) for salt in range(2)]),
        letters_at(letters),
        len(letters),
        min(modulus, _MOST_VALUES),
        config["bos_token_id"],
        facts,
        np.empty((3, longest), np.int64),
        np.full(modulus, -1, np.int64),
    )
    columns = {name: facts[:, place] for place, name in enumerate(_FACTS)}
    columns["operators"] = columns["operators"] - lengths[0]
    columns["kind"] = np.minimum(columns["token"], len(letters))
    columns["index"] = index % BINS
    for which, letter in enumerate("asmd"):
        if letter in letters:
            columns[f"count_{letter}"] = facts[:, len(_FACTS) + which]
    return columns


@kernel
def _read(tokens, offsets, coin, letters, kinds, values, bos, facts, scratch, seen):
    """Of each valid example, and a place (coin[0]) and two neighbouring operands (coin[1]) chosen in it.

    facts int64 [rows, facts]; -1 where there is none. Scratch: of what begins at each place its operators and
    depth, and the operands.
    """
    sizes, depths, operands = scratch[0], scratch[1], scratch[2]
    for row in range(len(facts)):
        begin, end = np.int64(offsets[row]) + 2, np.int64(offsets[row + 1]) - 2
        width = end - begin
        out = facts[row]
        for which in range(4):
            out[len(out) - 4 + which] = 0
        aliases = (bos - tokens[begin - 2]) + (tokens[begin - 1] & 1) + (tokens[end] & 1)
        shape = np.int64(0)
        count, distinct = np.int64(0), np.int64(0)
        for place in range(width):
            token = tokens[begin + place]
            shape *= 2
            if token >= FIRST_VALUE:
                operands[count] = token - FIRST_VALUE
                count += 1
                if seen[token - FIRST_VALUE] != row:
                    seen[token - FIRST_VALUE] = row
                    distinct += 1
            else:
                shape += 1
                aliases += token > 4
                out[len(out) - 4 + ((token - 1) & 3)] += 1
            shape &= SHAPES - 1
        for place in range(width - 1, -1, -1):
            sizes[place] = 0
            depths[place] = 0
            if tokens[begin + place] < FIRST_VALUE:
                left = place + 1
                right = left + 2 * sizes[left] + 1
                sizes[place] = 1 + sizes[left] + sizes[right]
                depths[place] = 1 + max(depths[left], depths[right])
        chosen = np.int64(min(np.int64(coin[0, row] * width), width - 1))
        token = np.int64(tokens[begin + chosen])
        operand = np.int64(min(np.int64(coin[1, row] * (count - 1)), count - 2))
        out[0], out[1], out[2] = sizes[0], (tokens[end + 1] - FIRST_VALUE) % values, chosen
        inner = token < FIRST_VALUE
        out[3] = letters[(token - 1) & 3] if inner else kinds + (token - FIRST_VALUE) % values
        out[4] = sizes[chosen]
        out[5] = sizes[chosen + 1] if inner else -1
        out[6] = (1 if token > 4 else 0) if inner else -1
        out[7], out[8] = sizes[1], depths[0]
        out[9] = shape if sizes[0] <= SHAPED else -1
        out[10], out[11] = operands[0] % values, operands[count - 1] % values
        out[12], out[13] = operands[operand] % values, operands[operand + 1] % values
        out[14], out[15] = distinct, aliases
        out[16], out[17], out[18] = bos - tokens[begin - 2], tokens[begin - 1] & 1, tokens[end] & 1
        out[19] = letters[(tokens[begin] - 1) & 3]
