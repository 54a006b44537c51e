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
from typing import TYPE_CHECKING, Any

from .. import examples
from ..base import Look, Task, ValidationResult
from ..papers import PHYSICS_4_1
from . import content, generate, validate
from .answer import check_brevo_answer
from .audit import audit_of
from .config import KEYS, check, max_tokens, tokens
from .generate import mean_tokens, schema
from .texts import ABOUT, COLUMNS

if TYPE_CHECKING:
    import datasets

__all__ = [
    "TASK",
    "VERSION",
    "check_brevo_answer",
    "generate_brevo_example",
    "make_brevo_hf_dataset",
    "validate_brevo_example",
]

VERSION = 2  # 1 handed out words in the order in which they were drawn


def look(example: Mapping[str, Any], config: Mapping[str, Any], tree: bool) -> Look:
    """A line for the query and one for the answer."""
    ids = example["input_ids"]
    breaks = [at for at, token in enumerate(ids) if token == config["query_token_id"]]
    breaks.append(min(max(example["answer_start"] - 1, 0), len(ids)))
    facts = f"n {example['n']}, edges {example['edges']}, depth {example['depth']}"
    facts += f", answer {example['answer_length']} nodes"
    return Look(facts=facts, breaks=breaks)


TASK = Task(
    name="brevo",
    version=VERSION,
    keys=KEYS,
    check=check,
    schema=schema,
    generate=generate.generate,
    validate=validate.validate,
    mean_tokens=mean_tokens,
    max_tokens=max_tokens,
    tokens=tokens,
    about=ABOUT,
    columns=COLUMNS,
    paper=PHYSICS_4_1,
    look=look,
    test_form={"qa": True},
    content=content.content,
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


def make_brevo_hf_dataset(
    num_examples: int, config: Mapping[str, Any] | None, seed: int, split: str = "train"
) -> datasets.Dataset | list[dict[str, Any]]:
    """Examples 0..num_examples-1 as a `datasets.Dataset` (a list of dicts without that library)."""
    return examples.make_hf_dataset(TASK, num_examples, config, seed, split)
