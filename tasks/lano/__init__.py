"""Lano: sentences of layered context-free grammars (structure).

The start symbol is rewritten level by level: every symbol of a level picks one of its rules, each equally
likely, until the terminals stand there.

    [<bos>] sentence [<eos>]        loss on all tokens

What a grammar knows of sentences, exactly: `in_language`, `parse_tree`, `parse_counts`, `ancestors` (labels
for probes), `next_token_distribution`, `log_probability` (`tasks.lano.parse`); grammars come from the paper,
from files and from `random_grammar` (`tasks.lano.grammar`).

Source: Physics of Language Models, Part 4.1 (arXiv 2512.17351); the grammars are those of Part 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from shutil import get_terminal_size
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from .. import examples
from ..base import INT32_MAX, Key, Look, Task, ValidationResult, check_keys
from ..batch import column, list_type, ragged
from ..errors import ConfigError
from ..kernels import kernel
from ..rng import STATE_WORDS, integers, seed_stream
from .audit import audit_of
from .content import content, distinct
from .grammar import PUBLISHED, Grammar, grammar_of, grammar_of_text, published, random_grammar
from .parse import (
    ancestors,
    as_batch,
    in_language,
    log_probability,
    next_token_distribution,
    parse_counts,
    parse_tree,
    tree_lines,
    tree_text,
)
from .validator import validate

if TYPE_CHECKING:
    import datasets

__all__ = [
    "Grammar",
    "ancestors",
    "as_batch",
    "generate_lano_example",
    "grammar_of",
    "in_language",
    "log_probability",
    "make_lano_hf_dataset",
    "next_token_distribution",
    "parse_counts",
    "parse_tree",
    "published",
    "random_grammar",
    "tree_lines",
    "tree_text",
    "validate_lano_example",
]

VERSION = 1

KEYS = {
    "config_name": Key(
        default="cfg3f",
        kind=str,
        choices=PUBLISHED,
        optional=True,
        help="published grammar: cfg3b, 3i, 3h, 3g, 3f, 3j or 3k; ignored beside config_path or grammar",
    ),
    "config_path": Key(
        default=None, kind=Path, optional=True, help="file of a grammar; becomes the text in grammar"
    ),
    "grammar": Key(
        default=None,
        kind=str,
        optional=True,
        help="a grammar of your own: lines 'X -> A B | C D'; very ambiguous ones are slow to validate",
    ),
    "bos": Key(default=True, kind=bool, help="begin with <bos>"),
    "eos": Key(default=False, kind=bool, help="end with <eos>"),
    "bos_token_id": Key(default=0, help="id of <bos>"),
    "eos_token_id": Key(default=4, help="id of <eos>"),
}

SCHEMA = pa.schema(
    [
        column("input_ids", list_type(pa.int32())),
        column("loss_mask", list_type(pa.uint8())),
        column("index", pa.int64()),
        column("length", pa.int32()),  # terminals
    ]
)


def check(config: Mapping[str, Any] | None) -> dict[str, Any]:
    """The complete config; ConfigError says in one line what is wrong with it.

    A file is read here and nowhere else: its grammar stands in the complete config as canonical text.
    """
    full = check_keys("lano", config, KEYS)
    path, text = full["config_path"], full["grammar"]
    if path is not None and text is not None:
        raise ConfigError("lano: config_path and grammar cannot both be given; leave out one")
    if path is None and text is None and full["config_name"] is None:
        raise ConfigError(
            "lano: config_name=None needs a config_path or a grammar beside it; "
            f"published: {', '.join(PUBLISHED)}"
        )
    if path is not None or text is not None:
        try:
            found = Grammar.from_file(path) if path is not None else grammar_of_text(text)
        except ConfigError as error:
            key = "" if path is None else "config_path="
            raise ConfigError(f"lano: {key}{error}") from error
        full |= {"config_name": None, "config_path": None, "grammar": found.to_text()}
    _check_ids(full)
    return full


def _check_ids(full: Mapping[str, Any]) -> None:
    """<bos> and <eos>, where in use, must be none of the terminals and two different ids."""
    taken = dict.fromkeys(grammar_of(full).terminals, "a terminal of the grammar")
    for name in ("bos", "eos"):
        token = full[f"{name}_token_id"]
        if full[name] and token in taken:
            raise ConfigError(f"lano: {name}_token_id={token} is {taken[token]} already; move it")
        if full[name]:
            taken[token] = f"{name}_token_id"


def max_tokens(config: Mapping[str, Any]) -> int:
    """No example has more tokens; some have as many."""
    return grammar_of(config).max_length + int(config["bos"]) + int(config["eos"])


def mean_tokens(config: Mapping[str, Any]) -> float:
    """Expected tokens of an example: exact."""
    return grammar_of(config).mean_length + int(config["bos"]) + int(config["eos"])


def schema(config: Mapping[str, Any]) -> pa.Schema:
    """The columns of a batch: the same for every config."""
    return SCHEMA


def tokens(config: Mapping[str, Any]) -> dict[int, str]:
    """id -> name of every id in use: terminals by their number, <bos>, <eos>."""
    names = {terminal: str(terminal) for terminal in grammar_of(config).terminals}
    if config["bos"]:
        names[config["bos_token_id"]] = "<bos>"
    if config["eos"]:
        names[config["eos_token_id"]] = "<eos>"
    return names


def look(example: Mapping[str, Any], config: Mapping[str, Any], tree: bool) -> Look:
    """The sentence's length and, asked for, its first parse: a line a level, as wide as the terminal."""
    facts = f"length {example['length']}"
    if not tree:
        return Look(facts=facts)
    ids = list(example["input_ids"])
    sentence = ids[config["bos"] : len(ids) - config["eos"]]
    parsed = parse_tree(grammar_of(config), sentence)
    if parsed is None:
        return Look(facts=facts, below=["no parse"])
    return Look(facts=facts, below=tree_lines(parsed, get_terminal_size().columns))


def generate(
    config: Mapping[str, Any], key: NDArray[np.uint64], indices: NDArray[np.int64]
) -> pa.RecordBatch:
    """Make the examples at `indices` (int64 [rows]) of the stream `key`; see `tasks.base.Task`."""
    grammar = grammar_of(config)
    choices, rules = _rule_table(grammar)
    width = rules.shape[1] - 1
    longest = max_tokens(config) + width
    # Mostly enough for all rows; where not, the kernel stops before a row and goes on with more.
    room = min(len(indices) * longest, int(1.05 * len(indices) * mean_tokens(config))) + 2 * longest
    tokens = np.empty(room, dtype=np.int32)
    offsets = np.zeros(len(indices) + 1, dtype=np.int32)
    scratch = [np.empty(grammar.max_length + width, dtype=np.int32) for _ in range(2)]
    state = np.empty(STATE_WORDS, dtype=np.uint64)
    row = 0
    while row < len(indices):
        if len(tokens) > INT32_MAX:
            raise OverflowError("a batch of over 2^31 tokens: ask for fewer examples at a time")
        row = _generate(
            key,
            indices,
            row,
            len(grammar.rules),
            choices,
            rules,
            config["bos_token_id"] if config["bos"] else -1,
            config["eos_token_id"] if config["eos"] else -1,
            longest,
            tokens,
            offsets,
            state,
            *scratch,
        )
        if row < len(indices):
            tokens = np.concatenate([tokens, np.empty(len(tokens), dtype=np.int32)])
    used = int(offsets[-1])
    columns = [
        ragged(tokens[:used], offsets),
        ragged(np.ones(used, dtype=np.uint8), offsets),
        pa.array(indices),
        pa.array(np.diff(offsets) - np.int32(config["bos"] + config["eos"])),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=SCHEMA)


def _rule_table(grammar: Grammar) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """choices int32 [symbols, 2]: a non-terminal's first rule and how many it has, the start's first.

    rules int32 [rules, 1 + longest rule, at least 3]: a rule's length, then its symbols: non-terminals as
    rows of `choices`, terminals as they are.
    """
    width = max(3, max(len(one) for level in grammar.rules for all_of in level for one in all_of))
    choices: list[tuple[int, int]] = []
    rows: list[list[int]] = []
    after = 0
    for level, below in zip(grammar.rules, grammar.levels[1:], strict=True):
        after += len(level)
        last = below == grammar.terminals
        number = {symbol: symbol if last else after + place for place, symbol in enumerate(below)}
        for alternatives in level:
            choices.append((len(rows), len(alternatives)))
            for one in alternatives:
                rows.append([len(one), *(number[symbol] for symbol in one), *[0] * (width - len(one))])
    return np.array(choices, dtype=np.int32), np.array(rows, dtype=np.int32)


@kernel
def _generate(
    key, indices, row, levels, choices, rules, bos, eos, longest, tokens, offsets, state, symbols, others
):
    """Write examples from `row` on, one after another; returns the first one that has no room in `tokens`.

    An example's draws: one of `integers(number of rules)` for every non-terminal, level by level from the
    start, left to right. A whole row of `rules` is copied whatever the rule's length, which is random: the
    next rule overwrites what is too much. Scratch: symbols, others int32 [longest sentence + a rule].
    """
    width = rules.shape[1] - 1
    at = int(offsets[row])
    while row < len(indices) and len(tokens) - at >= longest:
        seed_stream(state, key, indices[row], 0)
        if bos >= 0:
            tokens[at] = bos
            at += 1
        symbols[0] = 0
        count = 1
        for _ in range(levels - 1):
            made = 0
            for place in range(count):
                symbol = symbols[place]
                rule = choices[symbol, 0] + integers(state, choices[symbol, 1])
                others[made] = rules[rule, 1]
                others[made + 1] = rules[rule, 2]
                others[made + 2] = rules[rule, 3]
                for more in range(3, width):
                    others[made + more] = rules[rule, 1 + more]
                made += rules[rule, 0]
            symbols, others = others, symbols
            count = made
        for place in range(count):
            symbol = symbols[place]
            rule = choices[symbol, 0] + integers(state, choices[symbol, 1])
            tokens[at] = rules[rule, 1]
            tokens[at + 1] = rules[rule, 2]
            tokens[at + 2] = rules[rule, 3]
            for more in range(3, width):
                tokens[at + more] = rules[rule, 1 + more]
            at += rules[rule, 0]
        if eos >= 0:
            tokens[at] = eos
            at += 1
        row += 1
        offsets[row] = at
    return row


TASK = Task(
    name="lano",
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
    content=content,
    distinct=distinct,
    strata={"length": "length"},
    audit=audit_of,
)


def generate_lano_example(
    config: Mapping[str, Any] | None, seed: int, index: int = 0, split: str = "train"
) -> dict[str, Any]:
    """The example at one address: input_ids, loss_mask, labels, index, length."""
    return examples.generate_example(TASK, config, seed, index, split)


def validate_lano_example(example: Mapping[str, Any], config: Mapping[str, Any] | None) -> ValidationResult:
    """Parse the example's sentence; truthy when valid, and says why when not."""
    return examples.validate_example(TASK, example, config)


def make_lano_hf_dataset(
    num_examples: int, config: Mapping[str, Any] | None, seed: int, split: str = "train"
) -> datasets.Dataset | list[dict[str, Any]]:
    """Examples 0..num_examples-1 as a `datasets.Dataset` (a list of dicts without that library)."""
    return examples.make_hf_dataset(TASK, num_examples, config, seed, split)
