"""Damaged Depo examples: of single tokens anywhere, and of whole edges and questions."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from typing import Any

Word = list[int]
# The edges (source, target) and the questions (hop, start, answer).
Parts = tuple[list[tuple[Word, Word]], list[tuple[int, Word, Word]]]


def token_pool(config: Mapping[str, Any]) -> list[int]:
    """Every id in use (of words, specials and hops), their neighbours, and far-off ones."""
    used = {config[name] for name in ("bos_token_id", "answer_token_id", "separator_token_id")}
    used |= set(range(1, 2 * min(config["mini_vocab"], 6) + 1))
    used |= {config["mini_vocab"], config["mini_vocab"] + 1, 2 * config["mini_vocab"]}
    used |= {config["query_token_base"] + hop for hop in (1, 2, config["K"] // 2, config["K"])}
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
            new = draw.choice((word, _new_word(draw, config), _damaged_word(draw, config, source)))
            edges = [(new if a == source else a, new if b == source else b) for a, b in edges]
            questions = [(k, new if q == source else q, new if a == source else a) for k, q, a in questions]
    return join(config, (edges, questions))


def _new_word(draw: random.Random, config: Mapping[str, Any]) -> Word:
    """A word of any length around the allowed ones."""
    length = draw.randint(max(1, config["min_tlen"] - 1), config["max_tlen"] + 1)
    inner = [draw.randint(1, config["mini_vocab"]) for _ in range(length - 1)]
    return [*inner, config["mini_vocab"] + draw.randint(1, config["mini_vocab"])]


def _damaged_word(draw: random.Random, config: Mapping[str, Any], word: Word) -> Word:
    """The word with a first or last token just outside of its range."""
    vocab = config["mini_vocab"]
    return draw.choice(([*word[:-1], 2 * vocab + 1], [*word[:-1], vocab], [0, *word[1:]], [-1, *word]))


def single_replacements(config: Mapping[str, Any], tokens: list[int]) -> Iterator[tuple[int, list[int]]]:
    """Every replacement of one token by another id of the pool, with its place."""
    for place, token in enumerate(tokens):
        for other in token_pool(config):
            if other != token:
                yield place, [*tokens[:place], other, *tokens[place + 1 :]]
