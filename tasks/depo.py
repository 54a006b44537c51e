"""Depo: k-hop walks on a directed cycle (reasoning depth).

n nodes, each named by a distinct word, stand on one directed cycle. An example lists the n edges in
random order, then asks min(M, n) questions with distinct starts: which node is k steps on?

    <bos> (x y)*n (<query_k> q <ans> a)*t        loss on <ans> and the answer's tokens only

Source: Physics of Language Models, Part 4.1 (arXiv 2512.17351).
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from . import examples
from .base import INT32_MAX, Key, Look, Task, ValidationResult, check_keys
from .batch import column, list_type, ragged
from .depo_audit import audit_of
from .depo_content import content, count_distinct
from .depo_validator import validate
from .errors import ConfigError
from .kernels import kernel
from .rng import STATE_WORDS, integers, seed_stream
from .sizes import MIN_SIZE, draw_size, size_probabilities, size_thresholds
from .words import (
    check_words,
    draw_distinct_words,
    first_word_numbers,
    mean_lengths,
    put_word,
    table_bits,
    word_tokens,
)

if TYPE_CHECKING:
    import datasets

VERSION = 2  # 1 handed out words in the order in which they were drawn

KEYS = {
    "N": Key(default=225, low=3, high=10**6, help="largest number of nodes"),
    "K": Key(default=8, low=1, high=10**6, help="largest number of hops"),
    "M": Key(default=10, low=1, high=10**6, help="questions an example (fewer when n < M)"),
    "qa": Key(default=False, kind=bool, help="test form: n = N, hops 1, 2, 4, ... and K"),
    "separator": Key(default=False, kind=bool, help="put a separator before each edge"),
    "mini_vocab": Key(default=50, low=1, high=10**6, help="different tokens at a place of a word"),
    "min_tlen": Key(default=1, low=1, high=64, help="fewest tokens of a word"),
    "max_tlen": Key(default=2, low=1, high=64, help="most tokens of a word"),
    "fixed_k": Key(default=None, low=1, high=10**6, optional=True, help="ask this hop only"),
    "bos_token_id": Key(default=0, help="id of <bos>"),
    "separator_token_id": Key(default=9700, help="id of <sep>"),
    "query_token_base": Key(default=9000, help="id of <query_k> is this + k"),
    "answer_token_id": Key(default=9500, help="id of <ans>"),
}

SCHEMA = pa.schema(
    [
        column("input_ids", list_type(pa.int32())),
        column("loss_mask", list_type(pa.uint8())),
        column("index", pa.int64()),
        column("n", pa.int32()),
        column("query_hops", list_type(pa.int32())),
        column("answer_starts", list_type(pa.int32())),  # first token of each answer, after <ans>
        column("answer_ends", list_type(pa.int32())),  # one past its last token
    ]
)


def check(config: Mapping[str, Any] | None) -> dict[str, Any]:
    """The complete config; ConfigError says in one line what is wrong with it."""
    full = check_keys("depo", config, KEYS)
    check_words("depo", full["N"], full["mini_vocab"], full["min_tlen"], full["max_tlen"])
    if full["fixed_k"] is not None and full["fixed_k"] > full["K"]:
        raise ConfigError(
            f"depo: fixed_k={full['fixed_k']} must not be larger than K={full['K']}; raise K to ask it"
        )
    _check_ids(full)
    return full


def _check_ids(full: Mapping[str, Any]) -> None:
    """Every id must mean one thing: no two ranges of ids may touch."""
    base = full["query_token_base"]
    ranges = [
        (1, 2 * full["mini_vocab"], "the words' tokens (1 to 2 * mini_vocab)"),
        (base + 1, base + full["K"], "the query ids (query_token_base + 1 to + K)"),
        (full["bos_token_id"], full["bos_token_id"], "bos_token_id"),
        (full["answer_token_id"], full["answer_token_id"], "answer_token_id"),
    ]
    if full["separator"]:
        ranges.append((full["separator_token_id"],) * 2 + ("separator_token_id",))
    ranges.sort()
    for (_, last, one), (first, _, other) in pairwise(ranges):
        if first <= last:
            raise ConfigError(
                f"depo: {one} and {other} collide at id {first}; move one of them, e.g. "
                "query_token_base or the special token's id"
            )
    if ranges[-1][1] > INT32_MAX:
        raise ConfigError(f"depo: {ranges[-1][2]} go past 2^31 - 1, the largest id; lower them")


def hop_choices(config: Mapping[str, Any]) -> NDArray[np.int32]:
    """The hops that are asked, each equally likely: int32, ascending."""
    largest = config["K"]
    if config["fixed_k"] is not None:
        hops = {config["fixed_k"]}
    elif config["qa"]:
        hops = {1 << power for power in range(largest.bit_length())} | {largest}
        if largest == 32:
            hops.add(24)
    else:
        hops = set(range(1, largest + 1))
    return np.array(sorted(hops), dtype=np.int32)


def distinct(config: Mapping[str, Any], by_content: bool) -> int | None:
    """How many different examples there are, exactly; see `tasks.depo_content.count_distinct`."""
    return count_distinct(config, len(hop_choices(config)), by_content)


def max_tokens(config: Mapping[str, Any]) -> int:
    """No example has more tokens."""
    return int(_token_bound(config, config["N"]))


def _token_bound(config: Mapping[str, Any], nodes: Any) -> Any:
    word = config["max_tlen"]
    questions = np.minimum(nodes, config["M"])
    return 1 + nodes * (2 * word + config["separator"]) + questions * (2 + 2 * word)


def mean_tokens(config: Mapping[str, Any]) -> float:
    """Expected tokens of an example, to a percent: what shards and batches are measured out with."""
    nodes = np.arange(MIN_SIZE, config["N"] + 1)
    word = mean_lengths(config["N"], config["mini_vocab"], config["min_tlen"], config["max_tlen"])[nodes]
    lengths = 1 + nodes * (2 * word + config["separator"])
    lengths = lengths + np.minimum(nodes, config["M"]) * (2 + 2 * word)
    if config["qa"]:
        return float(lengths[-1])
    return float(lengths @ size_probabilities(config["N"]))


def schema(config: Mapping[str, Any]) -> pa.Schema:
    """The columns of a batch: the same for every config."""
    return SCHEMA


def tokens(config: Mapping[str, Any]) -> dict[int, str]:
    """id -> name of every id in use; a word's last token has a dot: "7 12." is a word of two."""
    names = word_tokens(config["mini_vocab"], config["max_tlen"])
    for hop in range(1, config["K"] + 1):
        names[config["query_token_base"] + hop] = f"<query_{hop}>"
    names[config["bos_token_id"]] = "<bos>"
    names[config["answer_token_id"]] = "<ans>"
    if config["separator"]:
        names[config["separator_token_id"]] = "<sep>"
    return names


def look(example: Mapping[str, Any], config: Mapping[str, Any], tree: bool) -> Look:
    """A question a line."""
    base = config["query_token_base"]
    places = [at for at, token in enumerate(example["input_ids"]) if base < token <= base + config["K"]]
    hops = " ".join(map(str, example["query_hops"]))
    return Look(facts=f"n {example['n']}, hops {hops}", breaks=places)


def generate(
    config: Mapping[str, Any], key: NDArray[np.uint64], indices: NDArray[np.int64]
) -> pa.RecordBatch:
    """Make the examples at `indices` (int64 [rows]) of the stream `key`; see `tasks.base.Task`."""
    word = config["max_tlen"]
    thresholds = size_thresholds(config["N"])
    sizes = np.full(len(indices), config["N"], dtype=np.int32)
    if not config["qa"]:
        _draw_sizes(key, indices, thresholds, np.empty(STATE_WORDS, np.uint64), sizes)
    room = int(_token_bound(config, sizes.astype(np.int64)).sum()) + word
    if room > INT32_MAX:
        raise OverflowError("a batch of over 2^31 tokens: ask for fewer examples at a time")
    questions = np.minimum(sizes, config["M"])
    query_offsets = np.zeros(len(indices) + 1, dtype=np.int32)
    np.cumsum(questions, out=query_offsets[1:])
    slots = 1 << table_bits(config["N"], config["mini_vocab"], config["min_tlen"], word)
    largest = int(sizes.max(initial=0))
    tokens = np.empty(room, dtype=np.int32)
    mask = np.zeros(room, dtype=np.uint8)
    offsets = np.zeros(len(indices) + 1, dtype=np.int32)
    hops, starts, ends = (np.empty(query_offsets[-1], dtype=np.int32) for _ in range(3))
    _generate(
        key,
        indices,
        sizes,
        thresholds,
        config["qa"],
        hop_choices(config),
        config["mini_vocab"],
        config["min_tlen"],
        first_word_numbers(config["mini_vocab"], config["min_tlen"], word),
        config["bos_token_id"],
        config["separator_token_id"] if config["separator"] else -1,
        config["query_token_base"],
        config["answer_token_id"],
        query_offsets,
        tokens,
        mask,
        offsets,
        hops,
        starts,
        ends,
        np.empty(STATE_WORDS, dtype=np.uint64),
        np.empty((largest, word), dtype=np.int32),
        np.empty(largest, dtype=np.int32),
        np.empty(largest, dtype=np.int32),
        np.empty(slots, dtype=np.int64),
        np.zeros(slots, dtype=np.int32),
    )
    used = int(offsets[-1])
    columns = [
        ragged(tokens[:used], offsets),
        ragged(mask[:used], offsets),
        pa.array(indices),
        pa.array(sizes),
        ragged(hops, query_offsets),
        ragged(starts, query_offsets),
        ragged(ends, query_offsets),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=SCHEMA)


@kernel
def _draw_sizes(key, indices, thresholds, state, sizes):
    """n of each example, the first draw of its stream, to sizes int32 [rows]."""
    for row in range(len(indices)):
        seed_stream(state, key, indices[row], 0)
        sizes[row] = draw_size(state, thresholds)


@kernel
def _generate(
    key,
    indices,
    sizes,
    thresholds,
    qa,
    hop_choices,
    mini_vocab,
    min_tlen,
    firsts,
    bos,
    separator,
    query_base,
    answer,
    query_offsets,
    tokens,
    mask,
    offsets,
    hops,
    starts,
    ends,
    state,
    words,
    lengths,
    order,
    seen,
    seen_in,
):
    """Write all examples one after another; draws come in the order of the code.

    From `state` on all is scratch: a kernel allocates nothing.
    """
    at = 0
    for row in range(len(indices)):
        seed_stream(state, key, indices[row], 0)
        if not qa:
            draw_size(state, thresholds)
        n = sizes[row]
        # Words are exchangeable, so the cycle word 0 -> word 1 -> ... is a random one.
        draw_distinct_words(state, n, mini_vocab, min_tlen, firsts, words, lengths, seen, seen_in, row + 1)
        tokens[at] = bos
        at += 1
        for place in range(n):
            order[place] = place
        for place in range(n - 1, -1, -1):
            chosen = integers(state, place + 1)
            edge = order[chosen]
            order[chosen] = order[place]
            if separator >= 0:
                tokens[at] = separator
                at += 1
            at = put_word(tokens, at, words, lengths, edge)
            at = put_word(tokens, at, words, lengths, edge + 1 if edge + 1 < n else 0)
        for place in range(n):
            order[place] = place
        for query in range(query_offsets[row], query_offsets[row + 1]):
            asked = query - query_offsets[row]
            chosen = asked + integers(state, n - asked)
            start = order[chosen]
            order[chosen] = order[asked]
            hop = hop_choices[integers(state, len(hop_choices))]
            tokens[at] = query_base + hop
            at = put_word(tokens, at + 1, words, lengths, start)
            tokens[at] = answer
            mask[at] = 1
            hops[query] = hop
            starts[query] = at + 1 - offsets[row]
            after = put_word(tokens, at + 1, words, lengths, (start + hop) % n)
            for place in range(at + 1, after):
                mask[place] = 1
            at = after
            ends[query] = at - offsets[row]
        offsets[row + 1] = at


TASK = Task(
    name="depo",
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
    distinct=distinct,
    strata={"nodes": "n", "hops": "query_hops"},
    audit=lambda config: audit_of(config, hop_choices(config)),
)


def generate_depo_example(
    config: Mapping[str, Any] | None, seed: int, index: int = 0, split: str = "train"
) -> dict[str, Any]:
    """The example at one address: input_ids, loss_mask, labels, index, n, query_hops, answer spans."""
    return examples.generate_example(TASK, config, seed, index, split)


def validate_depo_example(example: Mapping[str, Any], config: Mapping[str, Any] | None) -> ValidationResult:
    """Solve the example again from its tokens; truthy when valid, and says why when not."""
    return examples.validate_example(TASK, example, config)


def make_depo_hf_dataset(
    num_examples: int, config: Mapping[str, Any] | None, seed: int, split: str = "train"
) -> datasets.Dataset | list[dict[str, Any]]:
    """Examples 0..num_examples-1 as a `datasets.Dataset` (a list of dicts without that library)."""
    return examples.make_hf_dataset(TASK, num_examples, config, seed, split)
