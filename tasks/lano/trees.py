"""Parse trees of Lano: one for every sentence of a batch, and how a tree is printed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from ..core.kernels import kernel
from .spans import MEMBER, NO_ROOM, find_spans, read_word


class Node(NamedTuple):
    """A symbol over the tokens [begin, end) of the sentence; a terminal has no children."""

    symbol: int
    begin: int
    end: int
    children: tuple[Node, ...] = ()


@kernel
def parse_rows(
    tokens,
    begins,
    lengths,
    row,
    tables,
    places,
    symbols,
    starts,
    word,
    cells,
    ends,
    prefixes,
    stamps,
    reach,
    dead,
    dead_stamp,
    stack,
):
    """Write the tree of each sentence from `row` on; returns the first row that has no room in `ends`.

    symbols int32 and starts uint8 [levels, tokens]: see `tasks.lano.parse.ancestors`; -1 and 0 where a row
    is not a sentence. places int64 [rows]: where a row's tokens stand there. Scratch beside `find_spans`'s:
    dead
    int64 [widest, n + 1] with its stamp int64 [1] (at first 0), stack int32 [widest, 3].
    """
    levels = tables.levels
    while row < len(begins):
        n = lengths[row]
        shift = places[row]
        rule = -3
        if n <= tables.longest:
            read_word(tokens, begins[row], n, tables, word)
            rule = find_spans(word, n, tables, cells, ends, prefixes, stamps, reach, 1 << 62)
            if rule == NO_ROOM:
                return row
        for line in range(levels):
            for at in range(shift, shift + n):
                symbols[line, at] = -1
                starts[line, at] = 0
        if rule == MEMBER:
            symbols[0, shift] = 0
            starts[0, shift] = 1
            for line in range(levels - 1):
                _expand_level(n, shift, line, tables, symbols, starts, cells, ends, dead, dead_stamp, stack)
            for line in range(levels):
                number = 0
                for at in range(shift, shift + n):
                    if starts[line, at]:
                        number = tables.numbers[tables.bases[levels - line] + symbols[line, at]]
                    symbols[line, at] = number
        row += 1
    return row


@kernel
def _expand_level(n, shift, line, tables, symbols, starts, cells, ends, dead, dead_stamp, stack):
    """Write the children of the nodes in `line` (0 is the start's) to the next line.

    A node takes the first of its alternatives that can be; its children end as early as can be, the first
    child before the second. Depth first over (children placed, token), none of them twice.
    """
    level = tables.levels - line
    below = tables.sizes[level - 1]
    base = tables.bases[level - 1] * (n + 1)
    begin = 0
    while begin < n:
        end = begin + 1
        while end < n and not starts[line, shift + end]:
            end += 1
        number = tables.bases[level] + symbols[line, shift + begin]
        done = False
        for rule in range(tables.rule_bases[number], tables.rule_bases[number + 1]):
            first_child = tables.rule_starts[rule]
            last_child = tables.rule_starts[rule + 1] - first_child - 1
            dead_stamp[0] += 1
            depth = 0
            stack[0, 0] = begin
            entering = True
            while depth >= 0 and not done:
                at = stack[depth, 0]
                if entering:
                    cell = base + at * below + tables.rule_symbols[first_child + depth]
                    first, last = cells[cell, 0], cells[cell, 1]
                    for place in range(first + 1, last):  # sorted: the shortest comes first
                        value = ends[place]
                        before = place - 1
                        while before >= first and ends[before] > value:
                            ends[before + 1] = ends[before]
                            before -= 1
                        ends[before + 1] = value
                    stack[depth, 1], stack[depth, 2] = first, last
                    entering = False
                if stack[depth, 1] == stack[depth, 2]:
                    dead[depth, at] = dead_stamp[0]
                    depth -= 1
                    continue
                to = ends[stack[depth, 1]]
                stack[depth, 1] += 1
                if depth == last_child:
                    done = to == end
                elif to < end and dead[depth + 1, to] != dead_stamp[0]:
                    depth += 1
                    stack[depth, 0] = to
                    entering = True
            if done:
                for child in range(last_child + 1):
                    symbols[line + 1, shift + stack[child, 0]] = tables.rule_symbols[first_child + child]
                    starts[line + 1, shift + stack[child, 0]] = 1
                break
        begin = end


def lines_of(tree: Node, width: int) -> list[str]:
    """The tree in blocks of lines of at most `width` characters (if a token fits): see `tree_lines`."""
    levels = list(_levels(tree))
    # A number fits over its first token, and a space after it over all of its tokens.
    nodes = [node for level in levels for node in level]
    labels = {(len(str(node.symbol)), node.end - node.begin) for node in nodes}
    cell = max(max(digits, -(-(digits + 1) // span)) for digits, span in labels)
    per_block = max(1, width // cell)
    lines: list[str] = []
    at = [0] * len(levels)  # of each level the first node that is not wholly printed
    for first in range(0, tree.end, per_block):
        last = min(tree.end, first + per_block)
        if lines:
            lines.append("")
        for line, level in enumerate(levels):
            parts = []
            while at[line] < len(level) and level[at[line]].end <= first:
                at[line] += 1
            for node in level[at[line] : at[line] + per_block]:
                if node.begin >= last:
                    break
                begin, end = max(node.begin, first), min(node.end, last)
                if begin < end:
                    room = (end - begin) * cell
                    label = str(node.symbol) if node.begin >= first else ""
                    fill = ("─" if node.children else " ") * room
                    text = (label + fill)[:room]
                    parts.append(text if node.end > last else f"{text[:-1]} ")
            lines.append("".join(parts).rstrip())
    return lines


def _levels(tree: Node) -> Iterator[list[Node]]:
    level = [tree]
    while level:
        yield level
        level = [child for node in level for child in node.children]
