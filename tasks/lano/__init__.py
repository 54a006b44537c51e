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
from shutil import get_terminal_size
from typing import TYPE_CHECKING, Any

from .. import examples
from ..base import Look, Proofs, Task, ValidationResult
from ..papers import PHYSICS_4_1
from . import content, derived, generate, validate
from .audit import audit_of
from .config import KEYS, check, max_tokens, mean_tokens, tokens
from .content import distinct
from .generate import schema
from .grammar import Grammar, grammar_of, published, random_grammar
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
from .texts import ABOUT, COLUMNS

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


TASK = Task(
    name="lano",
    version=VERSION,
    keys=KEYS,
    check=check,
    schema=schema,
    generate=generate.generate,
    validate=validate.validate,
    proofs=Proofs(generate=generate.derive, check=derived.check_derived),
    mean_tokens=mean_tokens,
    max_tokens=max_tokens,
    tokens=tokens,
    about=ABOUT,
    columns=COLUMNS,
    paper=PHYSICS_4_1,
    look=look,
    content=content.content,
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
