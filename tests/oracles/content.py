"""What a problem is, in plain Python: from the tokens to a canonical form, and from that to a fingerprint.

Canonical forms are tuples of named parts, sorted where their order says nothing; two examples are the same
problem exactly where theirs are equal.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Mapping, Sequence
from typing import Any

from oracles.siphash import siphash128

Word = tuple[int, ...]


def canonical(task: str, config: Mapping[str, Any], tokens: Sequence[int]) -> Any:
    """The problem that the tokens of a valid example pose."""
    return {"depo": _depo, "brevo": _brevo, "mano": _mano, "lano": _lano}[task](config, list(tokens))


def _depo(config: Mapping[str, Any], tokens: list[int]) -> Any:
    rest = tokens[1:]
    edges, questions = [], []
    while not 1 <= rest[0] - config["query_token_base"] <= config["K"]:
        if config["separator"]:
            rest.pop(0)
        edge = _word(rest, config["mini_vocab"]), _word(rest, config["mini_vocab"])
        edges.append(edge)
    while rest:
        question = rest.pop(0) - config["query_token_base"], _word(rest, config["mini_vocab"])
        questions.append(question)
        assert rest.pop(0) == config["answer_token_id"]
        _word(rest, config["mini_vocab"])
    return config["mini_vocab"], tuple(sorted(edges)), tuple(sorted(questions))


def _brevo(config: Mapping[str, Any], tokens: list[int]) -> Any:
    inner = config["mini_vocab"] if config["multi"] else 0
    rest = tokens[1:]
    edges = []
    while rest[0] != config["query_token_id"]:
        edge = _word(rest, inner), _word(rest, inner)
        edges.append(edge)
    rest.pop(0)
    return inner, tuple(sorted(edges)), _word(rest, inner)


def _word(rest: list[int], inner: int) -> Word:
    """Take a word from the beginning of `rest`: its digits 1..inner; any number where inner is 0."""
    digits = []
    while rest[0] <= inner:
        digits.append(rest.pop(0))
    return (*digits, rest.pop(0) - inner)


def _mano(config: Mapping[str, Any], tokens: list[int]) -> Any:
    expression = tuple(t - 5000 if t >= 5000 else "+-*/"[(t - 1) % 4] for t in tokens[2:-2])
    return config["value_mod"], expression


def _lano(config: Mapping[str, Any], tokens: list[int]) -> Any:
    return tuple(tokens[config["bos"] : len(tokens) - config["eos"]])


def fingerprint(task: str, form: Any) -> tuple[int, int]:
    """The fingerprint of a canonical form, from its definition."""
    if task == "lano":
        return _hash(["lano"], struct.pack(f"<{len(form)}i", *form))
    if task == "mano":
        modulus, expression = form
        symbols = ["+-*/".index(part) + 1 if isinstance(part, str) else part + 5 for part in expression]
        return _hash(["mano", modulus], struct.pack(f"<{len(symbols)}H", *symbols))
    inner, edges, asked = form
    questions = asked if task == "depo" else [(1, asked)]
    lanes = [0, 0]
    for kind, members in (("edge", edges), ("question", questions)):
        for one, other in members:
            message = struct.pack("<2Q", _number(one, inner), _number(other, inner))
            for lane, half in enumerate(_hash([task, inner, kind], message)):
                lanes[lane] = (lanes[lane] + half) % 2**64
    return lanes[0], lanes[1]


def _number(part: Word | int, inner: int) -> int:
    """A word in bijective base `inner`; a hop as it is."""
    if isinstance(part, int):
        return part
    number = 0
    for digit in part:
        number = number * inner + digit
    return number


def _hash(parts: list[Any], message: bytes) -> tuple[int, int]:
    text = json.dumps(parts, separators=(",", ":")).encode()
    key = hashlib.blake2b(text, digest_size=16, person=b"ostraca content").digest()
    return siphash128(key, message, (1, 3))
