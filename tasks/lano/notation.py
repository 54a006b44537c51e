"""How a layered grammar is written down, and what makes one well-formed.

Text: a line `22 -> 21 20 | 20 19` for every non-terminal, `#` begins a comment. The first left-hand side is
the start symbol; a symbol that is never on a left-hand side is a terminal. Levels are strict: all symbols
of a rule are of one level, the one below the symbol it rewrites. Alternatives are equally likely.

JSON: an object with `depth` (levels of rules), `sizes` (symbols of each of the depth + 1 levels, the
start's first), `idx` (each level's symbols: their numbers, or the first of consecutive ones) and `all`:
all[level][i]["children"] lists the alternatives of the level's i-th symbol. Children are places in the next
level (0 and up), as published, or the symbols' numbers: whichever all of the file's can be; where they can be
both, what produces every symbol, and places where both do. A symbol that the start never leads to (the
published cfg3e1 has some) is in no sentence, and left out. Other keys are passed over, but for those by which
the published generator makes other sentences of the same rules.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from ..core.outside import parse_json
from ..errors import ConfigError, OstracaError, shown

MAX_SYMBOL = 10**6  # the largest number of a symbol
MAX_SYMBOLS = 4096
MAX_LEVELS = 64
MAX_RULES = 1 << 16
MAX_RULE_LENGTH = 1024
MAX_TOTAL = 1 << 20  # symbols of all rules together

# Keys of published graphs with which terminals are not what the rules say.
_OTHER_SENTENCES = ("content_depth", "multi_vocab", "double_data_layer", "ptb")

Alternatives = tuple[tuple[int, ...], ...]
Levels = tuple[tuple[int, ...], ...]

_LINE = re.compile(r"\s*([^\s|>]+)\s*->(.*)")
_SYMBOL = re.compile(r"[0-9]{1,7}", re.ASCII)


class Production(NamedTuple):
    """All rules of one symbol, and where they stand, for errors."""

    symbol: int
    alternatives: Alternatives
    where: str


def read_text(text: str, source: str) -> list[Production]:
    """The productions of a text in their order; ConfigError names `source` and the line."""
    rules = []
    for number, line in enumerate(text.splitlines(), start=1):
        body = line.partition("#")[0]
        if body.strip():
            rules.append(_read_line(body, f"{source}, line {number}"))
    if not rules:
        raise ConfigError(f"{source}: no rules; write lines like '22 -> 21 20 | 20 19'")
    return rules


def _read_line(body: str, where: str) -> Production:
    match = _LINE.fullmatch(body)
    if match is None:
        raise ConfigError(f"{where}: {shown(body.strip())} is not of the form 'X -> A B | C D'")
    left = _symbol(match[1], where)
    alternatives = tuple(tuple(_symbol(word, where) for word in part.split()) for part in match[2].split("|"))
    return Production(left, alternatives, where)


def _symbol(word: str, where: str) -> int:
    if not _SYMBOL.fullmatch(word) or int(word) > MAX_SYMBOL:
        raise ConfigError(f"{where}: the symbol {shown(word)} must be a number from 0 to {MAX_SYMBOL}")
    return int(word)


def read_json(text: str, source: str) -> list[Production]:
    """The productions of a JSON graph (see the module's docstring); ConfigError names what is wrong."""
    try:
        graph = parse_json(f"{source}:", text)
    except OstracaError as error:
        raise ConfigError(f"{error}; a JSON grammar is an object with depth, sizes, idx and all") from None
    for key in ("depth", "sizes", "idx", "all"):
        if key not in graph:
            raise ConfigError(f"{source}: {key} is missing; a JSON grammar has depth, sizes, idx and all")
    for key in _OTHER_SENTENCES:
        if graph.get(key) is not None:
            raise ConfigError(
                f"{source}: {key}={shown(graph[key])} makes other sentences of these rules, which this task "
                "does not have; take it out for those of the rules alone"
            )
    depth, sizes = graph["depth"], graph["sizes"]
    if not _whole(depth, 1, MAX_LEVELS - 1):
        raise ConfigError(f"{source}: depth={shown(depth)} must be an integer from 1 to {MAX_LEVELS - 1}")
    if not _is_list(sizes, depth + 1) or not all(_whole(size, 1, MAX_SYMBOLS) for size in sizes):
        raise ConfigError(
            f"{source}: sizes={shown(sizes)} must be {depth + 1} numbers (depth + 1) from 1 to {MAX_SYMBOLS}"
        )
    if sizes[0] != 1:
        raise ConfigError(f"{source}: sizes[0]={sizes[0]} must be 1: the first level is the start symbol")
    symbols = _json_symbols(graph["idx"], sizes, source)
    children = list(_json_children(graph["all"], sizes, source))
    placed = _children_are_places(symbols, children, source)
    tokens = []
    for level, place, all_of in children:
        below = symbols[level + 1]
        alternatives = tuple(tuple(below[child] if placed else child for child in one) for one in all_of)
        tokens.append(Production(symbols[level][place], alternatives, f"{source}, all[{level}][{place}]"))
    return _reachable(tokens)


class _Unfit(NamedTuple):
    """Why a reading of the children does not fit."""

    possible: bool  # all children can be read so, but a symbol is produced by none
    why: str


def _children_are_places(symbols: list[list[int]], children: list[tuple[int, int, Any]], source: str) -> bool:
    """Whether children are places in the next level; else they are the symbols' numbers.

    ConfigError where they can be neither, or both though neither reading produces every symbol: then one that
    is left out may be one that was meant.
    """
    places, numbers = (_unfit(symbols, children, placed, source) for placed in (True, False))
    if places is None or numbers is None:
        return places is None
    if places.possible == numbers.possible:
        raise ConfigError(places.why)
    return places.possible


def _unfit(
    symbols: list[list[int]], children: list[tuple[int, int, Any]], places: bool, source: str
) -> _Unfit | None:
    """What speaks against one of the two readings of the children; None where nothing does."""
    unused = [dict(enumerate(level)) if places else {symbol: symbol for symbol in level} for level in symbols]
    known = [set(level) for level in unused]
    for level, place, all_of in children:
        for child in (child for one in all_of for child in one):
            if child not in known[level + 1]:
                where = f"{source}, all[{level}][{place}]"
                return _Unfit(False, f"{where}: the child {child} is not a symbol of level {level + 1}")
            unused[level + 1].pop(child, None)
    for level, left in enumerate(unused[1:], start=1):
        for symbol in left.values():
            return _Unfit(
                True,
                f"{source}: children can be places in the next level or numbers of symbols, and as either "
                f"some symbol is never produced (as places {symbol} of level {level}); take it out of sizes "
                "and idx, or correct the children",
            )
    return None


def _reachable(productions: list[Production]) -> list[Production]:
    """Those that the first one, the start's, leads to; levels go down."""
    reached = {productions[0].symbol}
    for production in productions:
        if production.symbol in reached:
            reached.update(child for one in production.alternatives for child in one)
    return [production for production in productions if production.symbol in reached]


def _whole(value: Any, low: int, high: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def _is_list(value: Any, length: int) -> bool:
    return isinstance(value, list) and len(value) == length


def _json_symbols(idx: Any, sizes: list[int], source: str) -> list[list[int]]:
    """The numbers of every level's symbols."""
    if not _is_list(idx, len(sizes)):
        raise ConfigError(f"{source}: idx must be a list of {len(sizes)} levels, as sizes is")
    symbols = []
    for level, (given, size) in enumerate(zip(idx, sizes, strict=True)):
        if _whole(given, 0, MAX_SYMBOL):
            given = list(range(given, given + size))
        if not _is_list(given, size) or not all(_whole(symbol, 0, MAX_SYMBOL) for symbol in given):
            raise ConfigError(
                f"{source}: idx[{level}] must be {size} numbers (sizes[{level}]) from 0 to {MAX_SYMBOL}, "
                "or the first one"
            )
        symbols.append(given)
    flat = [symbol for level in symbols for symbol in level]
    if len(set(flat)) < len(flat):
        twice = next(symbol for symbol in flat if flat.count(symbol) > 1)
        raise ConfigError(f"{source}: idx has the symbol {twice} twice")
    return symbols


def _json_children(nodes: Any, sizes: list[int], source: str) -> Iterator[tuple[int, int, Any]]:
    """(level, place, alternatives) of every non-terminal."""
    if not isinstance(nodes, list) or len(nodes) < len(sizes) - 1:
        raise ConfigError(f"{source}: all must be a list with the nodes of {len(sizes) - 1} levels or more")
    for level, size in enumerate(sizes[:-1]):
        if not _is_list(nodes[level], size):
            raise ConfigError(f"{source}: all[{level}] must be a list of {size} nodes (sizes[{level}])")
        for place, node in enumerate(nodes[level]):
            where = f"{source}, all[{level}][{place}]"
            children = node.get("children") if isinstance(node, dict) else None
            if not isinstance(children, list) or not children:
                raise ConfigError(f"{where}: children must be a list of alternatives")
            for one in children:
                if not isinstance(one, list) or not all(_whole(child, 0, MAX_SYMBOL) for child in one):
                    raise ConfigError(f"{where}: an alternative must be a list of symbols, not {shown(one)}")
                if not one:
                    raise ConfigError(f"{where}: an alternative is empty")
            yield level, place, children


def check_productions(
    productions: Iterable[Production], source: str
) -> tuple[Levels, dict[int, Alternatives]]:
    """Levels (the start's first, the terminals last; ascending in each) and the rules of every symbol.

    ConfigError, in one line that says where, unless this is a layered grammar of which every symbol can be
    reached from the first one.
    """
    listed = list(productions)
    rules: dict[int, Production] = {}
    for production in listed:
        _check_production(production)
        if production.symbol in rules:
            raise ConfigError(
                f"{production.where}: {production.symbol} has rules already; "
                "put all its alternatives on one line"
            )
        rules[production.symbol] = production
    start = listed[0].symbol
    level_of = {start: 0}
    levels = [[start]]
    while any(symbol in rules for symbol in levels[-1]):
        below: dict[int, None] = {}
        for symbol in levels[-1]:
            if symbol not in rules:
                raise _mixed(rules, level_of, symbol, levels[-1])
            for child in dict.fromkeys(child for one in rules[symbol].alternatives for child in one):
                if child == start:
                    raise ConfigError(f"{rules[symbol].where}: produces {start}, the start symbol")
                if level_of.setdefault(child, len(levels)) != len(levels):
                    raise ConfigError(
                        f"{rules[symbol].where}: {child} is of a level above already; a rule rewrites a "
                        "symbol of one level into symbols of the next"
                    )
                below[child] = None
        levels.append(sorted(below))
        if len(levels) > MAX_LEVELS:
            raise ConfigError(f"{source}: more than {MAX_LEVELS} levels")
    for production in listed:
        if production.symbol not in level_of:
            raise ConfigError(
                f"{production.where}: {production.symbol} cannot be reached from the start symbol {start}"
            )
    if len(level_of) > MAX_SYMBOLS:
        raise ConfigError(f"{source}: {len(level_of)} symbols are more than {MAX_SYMBOLS}")
    if sum(len(production.alternatives) for production in listed) > MAX_RULES:
        raise ConfigError(f"{source}: more than {MAX_RULES} rules")
    total = sum(len(one) for production in listed for one in production.alternatives)
    if total > MAX_TOTAL:
        raise ConfigError(
            f"{source}: {total} symbols in all rules together are more than {MAX_TOTAL}; use fewer or "
            "shorter rules"
        )
    return tuple(map(tuple, levels)), {symbol: rules[symbol].alternatives for symbol in rules}


def _check_production(production: Production) -> None:
    seen = set()
    for one in production.alternatives:
        if not one:
            raise ConfigError(f"{production.where}: an alternative is empty")
        if len(one) > MAX_RULE_LENGTH:
            raise ConfigError(f"{production.where}: an alternative of over {MAX_RULE_LENGTH} symbols")
        if one in seen:
            raise ConfigError(
                f"{production.where}: the alternative '{' '.join(map(str, one))}' stands there twice; "
                "all alternatives are equally likely, so each may be there once"
            )
        seen.add(one)


def _mixed(
    rules: dict[int, Production], level_of: dict[int, int], terminal: int, level: list[int]
) -> ConfigError:
    """A level holds a terminal and a symbol that has rules: say it where the terminal is produced."""
    other = next(symbol for symbol in level if symbol in rules)
    where = next(
        rules[symbol].where
        for symbol in rules
        if level_of.get(symbol) == level_of[terminal] - 1
        and any(terminal in one for one in rules[symbol].alternatives)
    )
    return ConfigError(
        f"{where}: {terminal} has no rules, but {other}, of the same level, has; a rule rewrites a symbol of "
        "one level into symbols of the next, and terminals are one level"
    )
