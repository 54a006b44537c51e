"""A slow judge of Depo examples, written from the definition of the layout and from nothing else.

    <bos> (x y)*n (<query_k> q <ans> a)*t          a separator before each edge where the config asks

Every token becomes a letter, a regular expression checks the layout, a dictionary is the graph.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any


def judge(config: Mapping[str, Any], tokens: Sequence[int], **metadata: Any) -> bool:
    """Whether the tokens are an example of this config, and the metadata (if given) is theirs."""
    letters = "".join(_letter(config, token) for token in tokens)
    word = f"d{{{config['min_tlen'] - 1},{config['max_tlen'] - 1}}}e"
    edge = f"{'S' if config['separator'] else ''}{word}{word}"
    if not re.fullmatch(f"B(?:{edge})+(?:Q{word}A{word})+", letters):
        return False
    spans = [found.span() for found in re.finditer("d*e", letters)]
    words = [tuple(tokens[begin:end]) for begin, end in spans]
    questions = [place for place, letter in enumerate(letters) if letter == "Q"]
    first = sum(1 for begin, _ in spans if begin < questions[0])

    sources, targets = words[0:first:2], words[1:first:2]
    after = dict(zip(sources, targets, strict=True))
    n = len(sources)
    if len(after) < n or len(set(targets)) < n or set(targets) != set(sources):
        return False
    if not 3 <= n <= config["N"] or (config["qa"] and n != config["N"]):
        return False
    if _walk(after, sources[0], n) != sources[0]:
        return False
    if any(_walk(after, sources[0], steps) == sources[0] for steps in range(1, n)):
        return False

    hops = [tokens[place] - config["query_token_base"] for place in questions]
    starts, answers = words[first::2], words[first + 1 :: 2]
    if len(hops) != min(config["M"], n) or len(set(starts)) != len(starts) or not set(starts) <= set(after):
        return False
    if any(not _asked(config, hop) for hop in hops):
        return False
    if any(_walk(after, q, k % n) != a for q, k, a in zip(starts, hops, answers, strict=True)):
        return False

    answer_spans = spans[first + 1 :: 2]
    mask = [0] * len(tokens)
    for begin, end in answer_spans:
        mask[begin - 1 : end] = [1] * (end - begin + 1)
    true_metadata = {
        "loss_mask": mask,
        "n": n,
        "query_hops": hops,
        "answer_starts": [begin for begin, _ in answer_spans],
        "answer_ends": [end for _, end in answer_spans],
        "labels": [token if kept else -100 for token, kept in zip(tokens, mask, strict=True)],
    }
    return all(true_metadata[name] == given for name, given in metadata.items() if name != "index")


def _letter(config: Mapping[str, Any], token: int) -> str:
    if token == config["bos_token_id"]:
        return "B"
    if token == config["answer_token_id"]:
        return "A"
    if config["separator"] and token == config["separator_token_id"]:
        return "S"
    if 1 <= token - config["query_token_base"] <= config["K"]:
        return "Q"
    if 1 <= token <= config["mini_vocab"]:
        return "d"
    if config["mini_vocab"] < token <= 2 * config["mini_vocab"]:
        return "e"
    return "?"


def _walk(after: Mapping[Any, Any], node: Any, steps: int) -> Any:
    for _ in range(steps):
        node = after[node]
    return node


def _asked(config: Mapping[str, Any], hop: int) -> bool:
    if config["fixed_k"] is not None:
        return bool(hop == config["fixed_k"])
    if not config["qa"]:
        return True
    powers = {2**power for power in range(31)}
    return hop in powers or hop == config["K"] or (config["K"] == 32 and hop == 24)
