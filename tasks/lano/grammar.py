"""Layered context-free grammars: what they are, exact facts about them, and random ones.

Source: Physics of Language Models, Part 1 (arXiv 2305.13673): every symbol of a level is rewritten, each of
its rules equally likely, into symbols of the next level, down to the terminals.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache, cached_property, lru_cache
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..core.paths import local_path
from ..core.rng import numpy_generator, stream_key
from ..errors import ConfigError, check_integer, shown
from .notation import (
    MAX_LEVELS,
    MAX_RULE_LENGTH,
    MAX_RULES,
    MAX_SYMBOLS,
    MAX_TOTAL,
    Alternatives,
    Levels,
    Production,
    check_productions,
    read_json,
    read_text,
)

PUBLISHED = ("cfg3b", "cfg3i", "cfg3h", "cfg3g", "cfg3f", "cfg3j", "cfg3k")
MAX_LENGTH = 1 << 16  # terminals of the longest sentence

_DATA = Path(__file__).parent / "grammars"


@dataclass(frozen=True)
class Grammar:
    """A well-formed layered grammar; make one with `from_text`, `from_json`, `from_file` or `published`."""

    levels: Levels  # the symbols of each level, ascending: the start's level first, the terminals last
    rules: tuple[tuple[Alternatives, ...], ...]  # [level][place in it]: the alternatives, all equally likely

    @staticmethod
    def from_productions(productions: Sequence[Production], source: str) -> Grammar:
        """The grammar of these productions, the start symbol's first; ConfigError where there is none."""
        levels, rules = check_productions(productions, source)
        grammar = Grammar(levels, tuple(tuple(rules[symbol] for symbol in level) for level in levels[:-1]))
        if grammar.max_length > MAX_LENGTH:
            raise ConfigError(
                f"{source}: the longest sentence has over {MAX_LENGTH} terminals; use shorter rules or "
                "fewer levels"
            )
        return grammar

    @staticmethod
    def from_text(text: str, source: str = "grammar") -> Grammar:
        """Read the notation of `tasks.lano.notation`; ConfigError names `source` and the line."""
        return Grammar.from_productions(read_text(text, source), source)

    @staticmethod
    def from_json(text: str, source: str = "grammar") -> Grammar:
        """Read a JSON graph, see `tasks.lano.notation`; ConfigError names `source` and the place."""
        return Grammar.from_productions(read_json(text, source), source)

    @staticmethod
    def from_file(path: str) -> Grammar:
        """Read a file of either kind; ConfigError names the file and what is wrong with it."""
        try:
            text = local_path(path).read_text(encoding="utf-8-sig")
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or "not a text in UTF-8"
            raise ConfigError(f"{path}: cannot be read ({reason})") from error
        if text.lstrip().startswith(("{", "[")):
            return Grammar.from_json(text, path)
        return Grammar.from_text(text, path)

    def to_text(self) -> str:
        """The canonical text: levels from the start down, symbols ascending, alternatives in their order."""
        lines = [
            f"{symbol} -> {' | '.join(' '.join(map(str, one)) for one in alternatives)}\n"
            for level, rules in zip(self.levels, self.rules, strict=False)
            for symbol, alternatives in zip(level, rules, strict=True)
        ]
        return "".join(lines)

    @property
    def start(self) -> int:
        return self.levels[0][0]

    @property
    def terminals(self) -> tuple[int, ...]:
        return self.levels[-1]

    @cached_property
    def min_length(self) -> int:
        """Terminals of the shortest sentence."""
        return self._per_sentence(min)

    @cached_property
    def max_length(self) -> int:
        """Terminals of the longest sentence."""
        return self._per_sentence(max)

    @cached_property
    def max_nodes(self) -> int:
        """Non-terminals of the largest tree."""
        return self._per_sentence(max, terminal=0, node=1)

    def _per_sentence(self, best: Callable[[list[int]], int], terminal: int = 1, node: int = 0) -> int:
        """The best sum over a tree in which a terminal counts so much, and any other node so much."""
        sums = dict.fromkeys(self.terminals, terminal)
        for level, rules in zip(self.levels[-2::-1], self.rules[::-1], strict=True):
            of_level = [
                node + best([sum(sums[child] for child in one) for one in all_of]) for all_of in rules
            ]
            sums = dict(zip(level, of_level, strict=True))
        return sums[self.start]

    @cached_property
    def expected_counts(self) -> dict[int, Fraction]:
        """How often each symbol occurs in a derivation, on average: exact."""
        counts: dict[int, Fraction] = dict.fromkeys(
            (symbol for level in self.levels for symbol in level), Fraction(0)
        )
        counts[self.start] = Fraction(1)
        for level, rules in zip(self.levels, self.rules, strict=False):
            for symbol, alternatives in zip(level, rules, strict=True):
                share = counts[symbol] / len(alternatives)
                for child, times in Counter(child for one in alternatives for child in one).items():
                    counts[child] += share * times
        return counts

    @cached_property
    def mean_length(self) -> float:
        """Terminals of a sentence on average: exact but for the last rounding."""
        return float(sum(self.expected_counts[terminal] for terminal in self.terminals))

    @cached_property
    def mean_nodes(self) -> float:
        """Non-terminals of a tree on average, likewise."""
        return float(sum(self.expected_counts[symbol] for level in self.levels[:-1] for symbol in level))

    @cached_property
    def derivation_bits(self) -> float:
        """Entropy of a derivation (all choices of rules) in bits per sentence."""
        return math.fsum(
            float(self.expected_counts[symbol]) * math.log2(len(alternatives))
            for level, rules in zip(self.levels, self.rules, strict=False)
            for symbol, alternatives in zip(level, rules, strict=True)
        )


class Derivations(NamedTuple):
    """How sentences come from the start: the rule of every node of their trees.

    Rules are numbered over the whole grammar, in the order of `Grammar.rules`: from the start's level down, a
    level's symbols ascending, their alternatives in their order. A sentence's nodes stand level by level,
    each from left to right. So the nodes of a level are as many as the symbols of the rules above them, and a
    node's descendants in any level stand side by side: a scan finds the ancestors of every token.
    """

    rules: NDArray[np.uint16]  # [nodes of all sentences]
    offsets: NDArray[np.int64]  # [sentences + 1]: where each one's nodes begin


@cache
def published(name: str) -> Grammar:
    """One of the seven published grammars; read once."""
    return Grammar.from_text((_DATA / f"{name}.txt").read_text(encoding="utf-8"), f"{name}.txt")


@lru_cache(maxsize=64)
def grammar_of_text(text: str) -> Grammar:
    """The grammar in a config; read once."""
    return Grammar.from_text(text)


def grammar_of(config: Mapping[str, Any]) -> Grammar:
    """The grammar of a complete config of the task."""
    text = config["grammar"]
    return published(config["config_name"]) if text is None else grammar_of_text(text)


Range = int | tuple[int, int]

_MANY = 1 << 14  # more than twice as many as a symbol can have rules


def random_grammar(
    depth: int,
    symbols: Range,
    rules: Range,
    min_length: int,
    max_length: int,
    seed: int,
) -> Grammar:
    """A random well-formed grammar, the same for the same arguments for good.

    depth: levels of rules (7 levels of symbols have 6). symbols: of every level but the start's, and rules:
    alternatives of every symbol; a number, or a range (low, high) to draw each from. min_length and
    max_length: symbols of a rule. The alternatives of a symbol are distinct and every symbol is produced.
    Symbols are numbered from the terminals, 1 and up. ConfigError where that cannot be.
    """
    depth = check_integer("depth", depth, 1, MAX_LEVELS - 1)
    symbols = _range("symbols", symbols, MAX_SYMBOLS)
    rules = _range("rules", rules, 1 << 12)
    max_length = check_integer("max_length", max_length, 1, MAX_RULE_LENGTH)
    min_length = check_integer("min_length", min_length, 1, max_length)
    # What is too large whatever is drawn is refused before anything is.
    least = 1 + (depth - 1) * symbols[0]
    _check_sums(symbols, rules, min_length, (least + symbols[0], least * rules[0]), depth - 1)
    asked = {"depth": depth, "symbols": symbols, "rules": rules, "lengths": [min_length, max_length]}
    draw = _Draw(asked, check_integer("seed", seed, 0))
    upper = all_symbols = 1
    all_rules = 0
    drawn = []
    for level in range(depth):
        alternatives = [draw.between(*rules) for _ in range(upper)]
        all_rules += sum(alternatives)
        most = min(symbols[1], sum(alternatives) * max_length)
        if most < symbols[0]:
            raise ConfigError(
                f"symbols={shown(symbols)}: the {upper} symbol(s) of level {level} with {sum(alternatives)} "
                f"rules of up to {max_length} can produce only {most}; ask for fewer symbols, more rules or "
                "longer ones"
            )
        lower = draw.between(symbols[0], most)
        all_symbols += lower
        _check_sums(symbols, rules, min_length, (all_symbols, all_rules), level)
        drawn.append((lower, draw.level(alternatives, lower, min_length, max_length)))
        upper = lower
    return _numbered(drawn)


def _check_sums(
    symbols: tuple[int, int], rules: tuple[int, int], min_length: int, sums: tuple[int, int], level: int
) -> None:
    """Refuse what no grammar may have; sums: symbols and rules of the levels from 0 to `level`."""
    all_symbols, all_rules = sums
    for name, of, needed, most, unit in (
        ("symbols", symbols, all_symbols, MAX_SYMBOLS, "symbols"),
        ("rules", rules, all_rules, MAX_RULES, "rules"),
        ("min_length", (min_length,), all_rules * min_length, MAX_TOTAL, "symbols in their rules"),
    ):
        if needed > most:
            given = of[0] if of[0] == of[-1] else of
            raise ConfigError(
                f"{name}={shown(given)}: levels 0 to {level} need {needed} {unit}, at most {most}; "
                "ask for fewer symbols or rules"
            )


def _range(name: str, value: Range, high: int) -> tuple[int, int]:
    if isinstance(value, (tuple, list)):
        if len(value) != 2:
            raise ConfigError(f"{name}={shown(value)} must be a number or a range (low, high)")
        last = check_integer(name, value[1], 1, high)
        return check_integer(name, value[0], 1, last), last
    number = check_integer(name, value, 1, high)
    return number, number


def _numbered(drawn: list[tuple[int, list[Alternatives]]]) -> Grammar:
    """The grammar of levels of rules over places in the next level: terminals are 1 and up."""
    first, after = [], 1
    for lower, _ in reversed(drawn):
        first.append(after)
        after += lower
    productions = []
    left = after
    for (_, level), below in zip(drawn, reversed(first), strict=True):
        for place, alternatives in enumerate(level):
            numbers = tuple(tuple(below + child for child in one) for one in alternatives)
            productions.append(Production(left + place, numbers, "random grammar"))
        left = below
    return Grammar.from_productions(productions, "random grammar")


class _Draw:
    """Uniform integers from raw 64-bit words, which NumPy keeps the same for good; rules made of them."""

    def __init__(self, asked: Mapping[str, object], seed: int) -> None:
        key = stream_key("lano grammar", 1, asked, seed, "grammar")
        self._words = numpy_generator(key, 0).bit_generator
        self._drawn = 0  # symbols of rules so far

    def below(self, bound: int) -> int:
        """Uniform on 0..bound-1."""
        while True:
            word = int(self._words.random_raw())
            if word < (1 << 64) // bound * bound:
                return word % bound

    def between(self, low: int, high: int) -> int:
        """Uniform on low..high."""
        return low + self.below(high - low + 1)

    def level(self, counts: list[int], lower: int, shortest: int, longest: int) -> list[Alternatives]:
        """Distinct alternatives for each symbol (counts: how many) that use all of `lower` symbols."""
        rules = [self._alternatives(count, lower, shortest, longest) for count in counts]
        if sum(len(one) for all_of in rules for one in all_of) < lower:  # too short to hold them all
            rules = [self._alternatives(count, lower, longest, longest) for count in counts]
        places = [
            (symbol, rule, place)
            for symbol, all_of in enumerate(rules)
            for rule, one in enumerate(all_of)
            for place in range(len(one))
        ]
        used = Counter(rules[symbol][rule][place] for symbol, rule, place in places)
        if len(places) < lower:
            raise ConfigError(f"{lower} symbols of a level have only {len(places)} places in the rules above")
        # A rule with a symbol that no other has differs from all others, so they stay distinct.
        for missing in (child for child in range(lower) if not used[child]):
            free = [at for at in places if used[rules[at[0]][at[1]][at[2]]] > 1]
            symbol, rule, place = free[self.below(len(free))]
            used[rules[symbol][rule][place]] -= 1
            used[missing] = 1
            rules[symbol][rule][place] = missing
        return [tuple(tuple(one) for one in all_of) for all_of in rules]

    def _alternatives(self, count: int, lower: int, shortest: int, longest: int) -> list[list[int]]:
        """`count` distinct rules over 0..lower-1: of each the length is drawn first, then the symbols."""
        # How many there are of each length; above _MANY all that counts is that few of them are taken.
        there = {length: min(lower ** min(length, 14), _MANY) for length in range(shortest, longest + 1)}
        left = dict(there)
        if sum(left.values()) < count:
            raise ConfigError(
                f"rules={count}: only {sum(left.values())} different rules of {shortest} to {longest} "
                f"symbols exist over {lower} symbol(s); ask for fewer rules, longer ones or more symbols"
            )
        lengths = list(left)
        rest: dict[int, list[tuple[int, ...]]] = {}
        chosen: dict[tuple[int, ...], None] = {}
        for _ in range(count):
            length = lengths[self.below(len(lengths))]
            if left[length] * 2 < there[length]:  # few are left: choose among these
                if length not in rest:
                    rest[length] = [one for one in product(range(lower), repeat=length) if one not in chosen]
                one = rest[length].pop(self.below(len(rest[length])))
            else:
                one = tuple(self.below(lower) for _ in range(length))
                while one in chosen:
                    one = tuple(self.below(lower) for _ in range(length))
            self._drawn += length
            if self._drawn > 4 * MAX_TOTAL:
                raise ConfigError(
                    f"max_length={longest}: far over {MAX_TOTAL} symbols in all rules together; ask for "
                    "fewer rules or shorter ones"
                )
            chosen[one] = None
            left[length] -= 1
            if not left[length]:
                lengths.remove(length)
        return [list(one) for one in chosen]
