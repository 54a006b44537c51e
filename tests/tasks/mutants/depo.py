"""Depo: edges and questions, damaged in their tokens or as a whole."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

from facts.depo import FACTS, PRESETS, VARIED
from facts.kinds import Config
from hypothesis import strategies as st

from ostraca.tasks.depo.validate import _validate

from .kinds import Ids, Mutants, damage_tokens, damaged_word, single_replacements, with_neighbours

Word = list[int]
# The edges (source, target) and the questions (hop, start, answer).
Parts = tuple[list[tuple[Word, Word]], list[tuple[int, Word, Word]]]


def token_pool(config: Mapping[str, Any]) -> list[int]:
    """Every id in use (of words, specials and hops), their neighbours, and far-off ones."""
    used = {config[name] for name in ("bos_token_id", "answer_token_id", "separator_token_id")}
    used |= set(range(1, 2 * min(config["mini_vocab"], 6) + 1))
    used |= {config["mini_vocab"], config["mini_vocab"] + 1, 2 * config["mini_vocab"]}
    used |= {config["query_token_base"] + hop for hop in (1, 2, config["K"] // 2, config["K"])}
    return with_neighbours(used)


def split(config: Mapping[str, Any], tokens: list[int]) -> Parts:
    """The parts of a valid example."""
    words: list[Word] = [[]]
    hops = []
    for token in tokens[1:]:
        if 1 <= token <= 2 * config["mini_vocab"]:
            words[-1].append(token)
            if token > config["mini_vocab"]:
                words.append([])
        elif config["query_token_base"] < token <= config["query_token_base"] + config["K"]:
            hops.append(token - config["query_token_base"])
    words.pop()
    asked = words[len(words) - 2 * len(hops) :]
    edges = words[: len(words) - 2 * len(hops)]
    return (
        list(zip(edges[::2], edges[1::2], strict=True)),
        list(zip(hops, asked[::2], asked[1::2], strict=True)),
    )


def join(config: Mapping[str, Any], parts: Parts) -> list[int]:
    """The tokens of edges and questions, whether they make sense or not."""
    tokens = [config["bos_token_id"]]
    for source, target in parts[0]:
        if config["separator"]:
            tokens.append(config["separator_token_id"])
        tokens += source + target
    for hop, start, answer in parts[1]:
        tokens += [config["query_token_base"] + hop, *start, config["answer_token_id"], *answer]
    return tokens


def damage_parts(draw: random.Random, config: Mapping[str, Any], tokens: list[int]) -> list[int]:
    """One or two edits of whole edges, questions, words or hops: well-formed, and sometimes still valid."""
    edges, questions = split(config, tokens)
    n = len(edges)
    for _ in range(draw.choice((1, 1, 2))):
        if not edges or not questions:
            break
        at, other = draw.randrange(len(edges)), draw.randrange(len(edges))
        ask, also = draw.randrange(len(questions)), draw.randrange(len(questions))
        (source, target), (hop, start, answer) = edges[at], questions[ask]
        word = draw.choice((edges[other][0], _new_word(draw, config)))
        edit = draw.randrange(17)
        if edit == 0:  # another order of the edges: still valid
            draw.shuffle(edges)
        elif edit == 1:  # another order of the questions: still valid
            draw.shuffle(questions)
        elif edit == 2:  # the same node by another hop: still valid where the hop may be asked
            questions[ask] = (draw.choice((hop + n, hop - n, hop % n + 2 * n)), start, answer)
        elif edit == 3:  # two cycles
            edges[at], edges[other] = (source, edges[other][1]), (edges[other][0], target)
        elif edit == 4:
            edges[at] = (word, target)
        elif edit == 5:
            edges[at] = (source, word)
        elif edit == 6:  # a node less on the cycle: valid but for qa, or where a question needs it
            edges = [(a, target if b == source else b) for a, b in edges if a != source]
        elif edit == 7:  # a node more on the cycle: valid up to N
            new = _new_word(draw, config)
            edges[at] = (source, new)
            edges.insert(other, (new, target))
        elif edit == 8:
            del edges[at]
        elif edit == 9:
            edges.insert(other, (source, draw.choice((target, word))))
        elif edit == 10:
            questions[ask] = (hop, word, answer)
        elif edit == 11:
            questions[ask] = (hop, start, word)
        elif edit == 12:
            questions[ask] = (draw.randint(1, config["K"]), start, answer)
        elif edit == 13:
            questions.insert(also, questions[ask])
        elif edit == 14:
            del questions[ask]
        else:  # another name for one node, everywhere: valid where the name is a word and is free
            new = draw.choice(
                (word, _new_word(draw, config), damaged_word(draw, config["mini_vocab"], source))
            )
            edges = [(new if a == source else a, new if b == source else b) for a, b in edges]
            questions = [(k, new if q == source else q, new if a == source else a) for k, q, a in questions]
    return join(config, (edges, questions))


def _new_word(draw: random.Random, config: Mapping[str, Any]) -> Word:
    """A word of any length around the allowed ones."""
    length = draw.randint(max(1, config["min_tlen"] - 1), config["max_tlen"] + 1)
    inner = [draw.randint(1, config["mini_vocab"]) for _ in range(length - 1)]
    return [*inner, config["mini_vocab"] + draw.randint(1, config["mini_vocab"])]


def damage(draw: random.Random, config: Config, originals: list[Ids], rows: int) -> list[Ids]:
    """Half of single tokens, half of parts."""
    pool = token_pool(config)
    some = [damage_tokens(draw, draw.choice(originals), pool) for _ in range(rows // 2)]
    return some + [damage_parts(draw, config, draw.choice(originals)) for _ in range(rows - rows // 2)]


@st.composite
def drawn(draw: st.DrawFn) -> tuple[Config, list[Ids]]:
    """Words, specials and ids of a tiny config."""
    config = FACTS.complete({"N": 4, "K": 2, "M": 2, "mini_vocab": 2, "separator": draw(st.booleans())})
    edge = st.lists(st.sampled_from([[3], [4], [1, 3], [2, 4], [5]]), min_size=2, max_size=2)
    edges = draw(st.lists(st.one_of(edge, st.just([[3], [4]])), min_size=1, max_size=5))
    question = st.tuples(st.sampled_from([0, 1, 2, 3]), st.sampled_from([[3], [4], [1, 3]]), st.just([4]))
    tokens = join(config, ([(a, b) for a, b in edges], draw(st.lists(question, max_size=3))))
    return config, [tokens, tokens[1:], tokens[:-1], [*tokens, 9001], []]


MUTANTS = Mutants(
    facts=FACTS,
    kernels=[_validate],
    presets=[(name, {"qa": qa}, 8500) for name in PRESETS for qa in (False, True)],
    damage=damage,
    worlds=VARIED,
    mutants=1200,
    unsaid=("loss_mask", "n is not", "query_hops"),
    apart=("depo2 words", 4),
    pool=token_pool,
    answers=lambda config, ids, mask: (
        mutant for place, mutant in single_replacements(ids, token_pool(config)) if mask[place]
    ),
    answered=6,
    replaced=("separator", "qa of 32", "fixed_k", "every word in use", "other ids"),
    drawn=drawn(),
    tries=400,
    another=(
        {"N": 9, "K": 8},
        ["input_ids"],
        [
            {"N": 8},
            {"K": 7},
            {"M": 5},
            {"qa": True},
            {"min_tlen": 2},
            {"max_tlen": 1},
            {"fixed_k": 2},
            {"separator": True},
            {"bos_token_id": 9999},
            {"answer_token_id": 9501},
            {"mini_vocab": 49},
        ],
    ),
    columns=[VARIED["separator"]],
    beside=VARIED["more questions than nodes"],
    small={"N": 5},
)
