"""Brevo: topological sort of the ancestors of a node (reasoning breadth).

An example lists the edges of a random acyclic graph in random order, then asks for a node: which nodes is
it reached from, and in which order can they stand so that each comes after its parents?

    <bos> (parent child)*edges <query> q <ans> a a ... q <eos>     loss on <ans>, the answer and <eos>

The graph: n nodes, the first of them leaves (1 to floor((n-1)/4) + 1, uniform). Each later node in turn
draws how many parents it has (uniform from 1 to max_in), and these without replacement among the earlier
nodes that have fewer than max_in children. An earlier node with room always exists (a node uses at most
max_in places and brings max_in new ones), so every node but the leaves has a parent; where fewer nodes
than max_in have room, they are the most that can be drawn. A leaf without children is in no edge and is
not shown.

Brevo1: a node is one token. Brevo2 (`multi`): a node is a word of several tokens.
Source: Physics of Language Models, Part 4.1 (arXiv 2512.17351).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from . import examples
from .base import INT32_MAX, Key, Look, Task, ValidationResult, check_keys
from .batch import column, list_type, ragged
from .brevo_audit import audit_of
from .brevo_content import content
from .brevo_draw import begin, name_by_ids, name_by_words, write
from .brevo_validator import MESSAGES, judge, validate
from .errors import ConfigError
from .rng import STATE_WORDS
from .sizes import MIN_SIZE, size_thresholds
from .words import check_words, first_word_numbers, mean_lengths, table_bits, word_tokens

if TYPE_CHECKING:
    import datasets

VERSION = 2  # 1 handed out words in the order in which they were drawn
_SAMPLED_NODES = 1000

KEYS = {
    "N": Key(default=70, low=3, high=10**5, help="largest number of nodes"),
    "multi": Key(default=False, kind=bool, help="a node is a word of several tokens (Brevo2)"),
    "qa": Key(default=False, kind=bool, help="test form: n = N"),
    "query": Key(
        default="last",
        kind=str,
        choices=("last", "last_quarter"),
        help="the node asked for: the last, or any of the last ceil(n/4)",
    ),
    "max_in": Key(default=4, low=1, high=64, help="most parents, and most children, of a node"),
    "mini_vocab": Key(default=4, low=1, high=10**6, help="multi: different tokens at a place of a word"),
    "min_tlen": Key(default=2, low=1, high=64, help="multi: fewest tokens of a word"),
    "max_tlen": Key(default=4, low=1, high=64, help="multi: most tokens of a word"),
    "bos_token_id": Key(default=9999, help="id of <bos>"),
    "eos_token_id": Key(default=9998, help="id of <eos> (may be that of <ans>)"),
    "query_token_id": Key(default=9997, help="id of <query>"),
    "answer_token_id": Key(default=9998, help="id of <ans>"),
}

SCHEMA = pa.schema(
    [
        column("input_ids", list_type(pa.int32())),
        column("loss_mask", list_type(pa.uint8())),
        column("index", pa.int64()),
        column("n", pa.int32()),
        column("edges", pa.int32()),
        column("depth", pa.int32()),  # edges on the shortest way from the query to a leaf
        column("answer_length", pa.int32()),  # nodes, the query too
        column("answer_start", pa.int32()),  # first token of the answer, after <ans>
        column("answer_end", pa.int32()),  # one past its last token: where <eos> stands
    ]
)


def check(config: Mapping[str, Any] | None) -> dict[str, Any]:
    """The complete config; ConfigError says in one line what is wrong with it."""
    full = check_keys("brevo", config, KEYS)
    if full["multi"]:
        check_words("brevo", full["N"], full["mini_vocab"], full["min_tlen"], full["max_tlen"])
    _check_ids(full)
    return full


def _check_ids(full: Mapping[str, Any]) -> None:
    """Every id must mean one thing; only <ans> and <eos> may share theirs."""
    nodes, what = full["N"], "the nodes' tokens (1 to N)"
    if full["multi"]:
        nodes, what = 2 * full["mini_vocab"], "the words' tokens (1 to 2 * mini_vocab)"
    specials = ["bos_token_id", "query_token_id", "answer_token_id"]
    if full["eos_token_id"] != full["answer_token_id"]:
        specials.append("eos_token_id")
    ranges = sorted([(1, nodes, what), *((full[name], full[name], name) for name in specials)])
    for (_, last, one), (first, _, other) in pairwise(ranges):
        if first <= last:
            raise ConfigError(
                f"brevo: {one} and {other} collide at id {first}; move the special token's id "
                "(only <ans> and <eos> may share one)"
            )


def _word(config: Mapping[str, Any]) -> int:
    """The most tokens of a node."""
    return int(config["max_tlen"]) if config["multi"] else 1


def _edge_bound(config: Mapping[str, Any], nodes: Any) -> Any:
    """No graph of so many nodes has more edges: node i = 1, 2, ... has at most min(i, max_in) parents."""
    rising = np.minimum(nodes - 1, config["max_in"])
    return rising * (rising + 1) // 2 + (nodes - 1 - rising) * config["max_in"]


def _token_bound(config: Mapping[str, Any], nodes: Any) -> Any:
    return 4 + _word(config) * (2 * _edge_bound(config, nodes) + 1 + nodes)


def max_tokens(config: Mapping[str, Any]) -> int:
    """No example has more tokens."""
    return int(_token_bound(config, config["N"]))


def mean_tokens(config: Mapping[str, Any]) -> float:
    """Expected tokens of an example, to some percent: what shards and batches are measured out with.

    The mean of a fixed sample whose sizes n are evenly spaced quantiles of their law. A graph of over 1,000
    nodes counts as so many times one of 1,000.
    """
    return _sample_mean(tuple(config.items()))


@lru_cache(maxsize=64)
def _sample_mean(items: tuple[tuple[str, Any], ...]) -> float:
    config = dict(items)
    most = min(config["N"], _SAMPLED_NODES)
    sampled = {**config, "N": most, "multi": False, "qa": False}
    rows = int(np.clip((1 << 21) // max_tokens(sampled), 16, 512))
    sizes = np.full(rows, config["N"])
    if not config["qa"]:
        quantiles = (2 * np.arange(rows) + 1) * ((1 << 52) // rows)
        sizes = MIN_SIZE + np.searchsorted(size_thresholds(config["N"]), quantiles, side="right")
    small = np.minimum(sizes, most).astype(np.int32)
    batch = _make(sampled, np.zeros(2, np.uint64), np.arange(rows, dtype=np.int64), small)
    nodes = (2 * batch["edges"].to_numpy() + 1 + batch["answer_length"].to_numpy()) * (sizes / small)
    if config["multi"]:
        nodes *= mean_lengths(config["N"], config["mini_vocab"], config["min_tlen"], config["max_tlen"])[
            sizes
        ]
    return 4 + float(nodes.mean())


def schema(config: Mapping[str, Any]) -> pa.Schema:
    """The columns of a batch: the same for every config."""
    return SCHEMA


def tokens(config: Mapping[str, Any]) -> dict[int, str]:
    """id -> name of every id in use: "v7" is node 7; a word's last token has a dot, "3 1." is a word."""
    if config["multi"]:
        names = word_tokens(config["mini_vocab"], config["max_tlen"])
    else:
        names = {node: f"v{node}" for node in range(1, config["N"] + 1)}
    names[config["bos_token_id"]] = "<bos>"
    names[config["query_token_id"]] = "<query>"
    names[config["answer_token_id"]] = "<ans>"
    names[config["eos_token_id"]] = "<eos>"
    if config["answer_token_id"] == config["eos_token_id"]:
        names[config["eos_token_id"]] = "<ans|eos>"
    return names


def look(example: Mapping[str, Any], config: Mapping[str, Any], tree: bool) -> Look:
    """A line for the query and one for the answer."""
    ids = example["input_ids"]
    breaks = [at for at, token in enumerate(ids) if token == config["query_token_id"]]
    breaks.append(min(max(example["answer_start"] - 1, 0), len(ids)))
    facts = f"n {example['n']}, edges {example['edges']}, depth {example['depth']}"
    facts += f", answer {example['answer_length']} nodes"
    return Look(facts=facts, breaks=breaks)


def generate(
    config: Mapping[str, Any], key: NDArray[np.uint64], indices: NDArray[np.int64]
) -> pa.RecordBatch:
    """Make the examples at `indices` (int64 [rows]) of the stream `key`; see `tasks.base.Task`."""
    return _make(config, key, indices, np.zeros(len(indices), dtype=np.int32))


def _make(
    config: Mapping[str, Any],
    key: NDArray[np.uint64],
    indices: NDArray[np.int64],
    sizes: NDArray[np.int32],
) -> pa.RecordBatch:
    """The examples at `indices`; sizes int32 [rows]: their n, 0 where it is to be drawn."""
    rows, word, max_in = len(indices), _word(config), config["max_in"]
    if config["qa"]:
        sizes[:] = config["N"]
    states = np.empty((rows, STATE_WORDS), dtype=np.uint64)
    leaves, asked = (np.empty(rows, dtype=np.int32) for _ in range(2))
    thresholds = size_thresholds(config["N"])
    begin(key, indices, thresholds, config["query"] == "last_quarter", states, sizes, leaves, asked)
    room = int(_token_bound(config, sizes.astype(np.int64)).sum()) + word
    if room > INT32_MAX:
        raise OverflowError("a batch of over 2^31 tokens: ask for fewer examples at a time")
    firsts = np.zeros(rows + 1, dtype=np.int64)
    np.cumsum(sizes, out=firsts[1:])
    words = np.empty((int(firsts[-1]), word), dtype=np.int32)
    lengths = np.ones(len(words), dtype=np.int32)
    if config["multi"]:
        space = (config["mini_vocab"], config["min_tlen"], word)
        slots = 1 << table_bits(config["N"], *space)
        seen, seen_in = np.empty(slots, dtype=np.int64), np.zeros(slots, dtype=np.int32)
        name_by_words(states, firsts, *space[:2], first_word_numbers(*space), words, lengths, seen, seen_in)
    else:
        name_by_ids(states, firsts, np.empty(config["N"], dtype=np.int32), words)
    largest = int(sizes.max(initial=1))
    tokens = np.empty(room, dtype=np.int32)
    mask = np.zeros(room, dtype=np.uint8)
    offsets = np.zeros(rows + 1, dtype=np.int32)
    facts = np.empty((5, rows), dtype=np.int32)
    write(
        states,
        firsts,
        leaves,
        asked,
        words,
        lengths,
        max_in,
        config["bos_token_id"],
        config["query_token_id"],
        config["answer_token_id"],
        config["eos_token_id"],
        tokens,
        mask,
        offsets,
        facts,
        np.empty((largest, max_in), dtype=np.int32),
        np.empty((6, largest + 1), dtype=np.int32),
        np.empty(int(_edge_bound(config, largest)), dtype=np.int64),
    )
    used = int(offsets[-1])
    columns = [
        ragged(tokens[:used], offsets),
        ragged(mask[:used], offsets),
        pa.array(indices),
        pa.array(sizes),
        *map(pa.array, facts),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=SCHEMA)


TASK = Task(
    name="brevo",
    version=VERSION,
    keys=KEYS,
    check=check,
    schema=schema,
    generate=generate,
    validate=validate,
    mean_tokens=mean_tokens,
    max_tokens=max_tokens,
    tokens=tokens,
    look=look,
    test_form={"qa": True},
    content=content,
    strata={"nodes": "n", "depth": "depth", "answer nodes": "answer_length"},
    audit=audit_of,
)


def generate_brevo_example(
    config: Mapping[str, Any] | None, seed: int, index: int = 0, split: str = "train"
) -> dict[str, Any]:
    """The example at one address: input_ids, loss_mask, labels, index and the metadata of `SCHEMA`."""
    return examples.generate_example(TASK, config, seed, index, split)


def validate_brevo_example(example: Mapping[str, Any], config: Mapping[str, Any] | None) -> ValidationResult:
    """Solve the example again from its tokens; truthy when valid, and says why when not."""
    return examples.validate_example(TASK, example, config)


def check_brevo_answer(
    prompt_ids: Any, answer_ids: Any, config: Mapping[str, Any] | None = None
) -> ValidationResult:
    """Check what a model wrote after a prompt that ends with `<ans>`: any valid order counts.

    prompt_ids and answer_ids: lists or arrays of integers [length]. The answer may end with `<eos>` or
    without it; anything after `<eos>` makes it invalid. Truthy when valid, and says why when not.
    """
    full = check(config)
    prompt, answer = _ids(prompt_ids), _ids(answer_ids)
    if prompt is None or answer is None:
        name = "prompt_ids" if prompt is None else "answer_ids"
        return ValidationResult(valid=False, reason=f"{name} is not made of integers")
    eos = full["eos_token_id"]
    if eos not in answer:
        answer = np.append(answer, np.int32(eos))
    tokens = np.concatenate([prompt, answer])
    offsets = np.array([0, len(tokens)], np.int32)
    batch = pa.RecordBatch.from_arrays([ragged(tokens, offsets)], names=["input_ids"])
    verdicts, answer_starts = judge(batch, full)
    code, position = int(verdicts.codes[0]), int(verdicts.positions[0])
    if answer_starts[0] == len(prompt):
        if code == 0:
            return ValidationResult(valid=True)
        where = f"(at token {position - len(prompt)} of the answer)"
        return ValidationResult(valid=False, reason=f"{MESSAGES[code]} {where}")
    if code == 0 or position >= len(prompt) or answer_starts[0] >= 0:
        return ValidationResult(valid=False, reason="the prompt does not end with its <ans>")
    return ValidationResult(valid=False, reason=f"the prompt: {verdicts[0].reason}")


def _ids(given: Any) -> NDArray[np.int32] | None:
    """The ids as int32 [length], -1 for one that no config can have; None where they are not integers."""
    try:
        ids = np.asarray(given)
    except (TypeError, ValueError, RuntimeError):
        return None
    if ids.size == 0 and ids.ndim == 1:
        return np.empty(0, np.int32)
    if ids.ndim != 1 or not np.issubdtype(ids.dtype, np.integer):
        return None
    return np.where((ids < 0) | (ids > INT32_MAX), -1, ids).astype(np.int32)


def make_brevo_hf_dataset(
    num_examples: int, config: Mapping[str, Any] | None, seed: int, split: str = "train"
) -> datasets.Dataset | list[dict[str, Any]]:
    """Examples 0..num_examples-1 as a `datasets.Dataset` (a list of dicts without that library)."""
    return examples.make_hf_dataset(TASK, num_examples, config, seed, split)
