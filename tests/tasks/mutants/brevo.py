"""Brevo: edges, names and answers, damaged in their tokens or as a whole."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

from facts.brevo import FACTS, PRESETS, VARIED
from facts.kinds import Config
from hypothesis import strategies as st

from ostraca.tasks.brevo.validate import _validate

from .kinds import Ids, Mutants, damage_tokens, damaged_word, with_neighbours

Word = list[int]
Parts = tuple[list[tuple[Word, Word]], Word, list[Word]]  # the edges, the query, the answer


def token_pool(config: Mapping[str, Any]) -> list[int]:
    """Every id in use, their neighbours, and far-off ones."""
    used = {config[name] for name in config if name.endswith("_token_id")}
    most = 2 * config["mini_vocab"] if config["multi"] else config["N"]
    used |= set(range(1, min(most, 13))) | {config["mini_vocab"], config["mini_vocab"] + 1, most}
    return with_neighbours(used)


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
            new = draw.choice(
                (word, new_word(draw, config), damaged_word(draw, config["mini_vocab"], parent))
            )
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


def damage(draw: random.Random, config: Config, originals: list[Ids], rows: int) -> list[Ids]:
    """A third of single tokens, the others of parts."""
    pool = token_pool(config)
    some = [damage_tokens(draw, draw.choice(originals), pool) for _ in range(rows // 3)]
    return some + [damage_parts(draw, config, draw.choice(originals)) for _ in range(rows - rows // 3)]


@st.composite
def drawn(draw: st.DrawFn) -> tuple[Config, list[Ids]]:
    """Edges, a query and an answer of the nodes of a tiny config."""
    query = draw(st.sampled_from(["last", "last_quarter"]))
    config = FACTS.complete({"N": 6, "max_in": 2, "query": query, "qa": draw(st.booleans())})
    node = st.sampled_from([[1], [2], [3], [4], [5], [6]])
    edges = draw(st.lists(st.tuples(node, node), max_size=8))
    asked = draw(node)
    answer = draw(st.one_of(st.just(solve(random.Random(0), edges, asked)), st.lists(node, max_size=6)))
    tokens = join(config, (edges, asked, answer))
    return config, [tokens, tokens[1:], tokens[:-1], [*tokens, 9998], []]


# As published, and some with the other query.
ROWS = {
    ("last", False): 95_000,
    ("last", True): 5000,
    ("last_quarter", False): 8000,
    ("last_quarter", True): 2000,
}
MUTANTS = Mutants(
    facts=FACTS,
    kernels=[_validate],
    presets=[
        (name, {"query": query, "qa": qa}, rows) for name in PRESETS for (query, qa), rows in ROWS.items()
    ],
    damage=damage,
    worlds=VARIED,
    mutants=1200,
    unsaid=("loss_mask", "n cannot be", "edges, depth"),
    apart=("words", 4),
    pool=token_pool,
    replaced=VARIED,
    replaced_rows=2,
    drawn=drawn(),
    tries=300,
    another=(
        {"N": 12, "query": "last_quarter"},
        ["input_ids"],
        [
            {"N": 11},
            {"qa": True},
            {"query": "last"},
            {"max_in": 3},
            {"multi": True},
            {"bos_token_id": 9000},
            {"eos_token_id": 9000},
            {"answer_token_id": 9000},
            {"query_token_id": 9000},
        ],
    ),
    columns=[VARIED["words"]],
    free={"n"},
    beside=VARIED["words of the last quarter"],
    small={"N": 5},
)
