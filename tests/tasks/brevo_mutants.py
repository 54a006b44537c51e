"""Damaged Brevo examples: of single tokens anywhere, and of whole edges, names and answers."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from typing import Any

Word = list[int]
Parts = tuple[list[tuple[Word, Word]], Word, list[Word]]  # the edges, the query, the answer


def token_pool(config: Mapping[str, Any]) -> list[int]:
    """Every id in use, their neighbours, and far-off ones."""
    used = {config[name] for name in config if name.endswith("_token_id")}
    most = 2 * config["mini_vocab"] if config["multi"] else config["N"]
    used |= set(range(1, min(most, 13))) | {config["mini_vocab"], config["mini_vocab"] + 1, most}
    near = {token + step for token in used for step in (-1, 1)}
    return sorted(used | near | {-1, -100, -(2**31), 2**31 - 1, 2**31 - 2})


def damage_tokens(draw: random.Random, config: Mapping[str, Any], tokens: list[int]) -> list[int]:
    """One to three random edits of single tokens or of a span."""
    pool = token_pool(config)
    mutant = list(tokens)
    for _ in range(draw.choice((1, 1, 1, 2, 3))):
        at = draw.randrange(len(mutant)) if mutant else 0
        other = draw.randrange(len(mutant)) if mutant else 0
        low, high = sorted((at, other))
        edit = draw.randrange(8)
        if edit == 0 or not mutant:
            mutant.insert(at, draw.choice(pool))
        elif edit == 1:
            mutant[at] = draw.choice(pool)
        elif edit == 2:
            mutant[at] = draw.choice(tokens)
        elif edit == 3:
            del mutant[at]
        elif edit == 4:
            mutant[at], mutant[other] = mutant[other], mutant[at]
        elif edit == 5:
            del mutant[at:]
        elif edit == 6:
            mutant[high:high] = mutant[low:high]
        else:
            del mutant[low:high]
    return mutant


def split(config: Mapping[str, Any], tokens: list[int]) -> Parts:
    """The parts of a valid example."""
    asked_at = tokens.index(config["query_token_id"])
    answer_at = tokens.index(config["answer_token_id"])
    listed = _words(config, tokens[1:asked_at])
    (query,) = _words(config, tokens[asked_at + 1 : answer_at])
    return (
        list(zip(listed[::2], listed[1::2], strict=True)),
        query,
        _words(config, tokens[answer_at + 1 : -1]),
    )


def _words(config: Mapping[str, Any], tokens: list[int]) -> list[Word]:
    words: list[Word] = [[]]
    for token in tokens:
        words[-1].append(token)
        if not config["multi"] or token > config["mini_vocab"]:
            words.append([])
    assert not words.pop()
    return words


def join(config: Mapping[str, Any], parts: Parts) -> list[int]:
    """The tokens of edges, query and answer, whether they make sense or not."""
    tokens = [config["bos_token_id"]]
    for parent, child in parts[0]:
        tokens += parent + child
    tokens += [config["query_token_id"], *parts[1], config["answer_token_id"]]
    for word in parts[2]:
        tokens += word
    return [*tokens, config["eos_token_id"]]


def solve(draw: random.Random, edges: list[tuple[Word, Word]], query: Word) -> list[Word]:
    """Some order of the query's ancestors with parents first; what it can where there is a cycle."""
    wanted = {tuple(query)}
    for _ in edges:
        wanted |= {tuple(a) for a, b in edges if tuple(b) in wanted}
    order: list[tuple[int, ...]] = []
    while len(order) < len(wanted):
        placed = set(order)
        ready = sorted(
            node for node in wanted - placed if all(tuple(a) in placed for a, b in edges if tuple(b) == node)
        )
        if not ready:
            break
        order.append(draw.choice(ready))
    return [list(node) for node in order]


def damage_parts(draw: random.Random, config: Mapping[str, Any], tokens: list[int]) -> list[int]:
    """One or two edits of edges, names, query or answer: well-formed, and often still valid."""
    edges, query, answer = split(config, tokens)
    for _ in range(draw.choice((1, 1, 2))):
        if not edges or not answer:
            break
        at, other = draw.randrange(len(edges)), draw.randrange(len(edges))
        one, two = draw.randrange(len(answer)), draw.randrange(len(answer))
        parent, child = edges[at]
        word = draw.choice((*edges[other], new_word(draw, config)))
        edit = draw.randrange(18)
        solved = False
        if edit == 0:  # another order of the edges: still valid
            draw.shuffle(edges)
        elif edit in (1, 2):  # another valid answer
            solved = True
        elif edit == 3:
            answer[one], answer[two] = answer[two], answer[one]
        elif edit == 4:
            answer.insert(one, draw.choice((answer[two], word)))
        elif edit == 5:
            del answer[one]
        elif edit == 6:
            answer.append(draw.choice((answer[two], word)))
        elif edit == 7:
            draw.shuffle(answer)
        elif edit == 8:
            query, solved = draw.choice((word, child)), draw.random() < 0.8
        elif edit == 9:
            del edges[at]
            solved = draw.random() < 0.8
        elif edit == 10:  # an edge more
            edges.insert(at, draw.choice(((parent, word), (word, child), (child, parent), (parent, child))))
            solved = draw.random() < 0.8
        elif edit == 11:
            edges[at] = draw.choice(((parent, word), (word, child), (child, parent)))
            solved = draw.random() < 0.8
        elif edit == 12:  # a node below the query or elsewhere
            edges.insert(other, (draw.choice((query, parent, child)), new_word(draw, config)))
            solved = draw.random() < 0.8
        elif edit == 13:
            edges = [(a, b) for a, b in edges if b != child]
            solved = True
        elif edit == 14:
            edges = [(a, b) for a, b in edges if parent not in (a, b)]
            solved = True
        else:  # another name for one node, everywhere: valid where it is a name and is free
            new = draw.choice((word, new_word(draw, config), _damaged_word(draw, config, parent)))
            edges = [(new if a == parent else a, new if b == parent else b) for a, b in edges]
            query = new if query == parent else query
            answer = [new if node == parent else node for node in answer]
        if solved:
            answer = solve(draw, edges, query)
    return join(config, (edges, query, answer))


def new_word(draw: random.Random, config: Mapping[str, Any]) -> Word:
    """A name of a node, or nearly one."""
    if not config["multi"]:
        return [draw.randint(0 if draw.random() < 0.1 else 1, config["N"] + (draw.random() < 0.2))]
    length = draw.randint(config["min_tlen"], config["max_tlen"])
    if draw.random() < 0.2:
        length = max(1, length + draw.choice((-1, 1)))
    inner = [draw.randint(1, config["mini_vocab"]) for _ in range(length - 1)]
    return [*inner, config["mini_vocab"] + draw.randint(1, config["mini_vocab"])]


def _damaged_word(draw: random.Random, config: Mapping[str, Any], word: Word) -> Word:
    """The name with a first or last token just outside of its range."""
    vocab = config["mini_vocab"]
    return draw.choice(([*word[:-1], 2 * vocab + 1], [*word[:-1], vocab], [0, *word[1:]], [-1, *word]))


def single_replacements(config: Mapping[str, Any], tokens: list[int]) -> Iterator[tuple[int, list[int]]]:
    """Every replacement of one token by another id of the pool, with its place."""
    for place, token in enumerate(tokens):
        for other in token_pool(config):
            if other != token:
                yield place, [*tokens[:place], other, *tokens[place + 1 :]]
