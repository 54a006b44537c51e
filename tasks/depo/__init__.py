"""Depo: k-hop walks on a directed cycle (reasoning depth).

n nodes, each named by a distinct word, stand on one directed cycle. An example lists the n edges in
random order, then asks min(M, n) questions with distinct starts: which node is k steps on?

    <bos> (x y)*n (<query_k> q <ans> a)*t        loss on <ans> and the answer's tokens only

Source: Physics of Language Models, Part 4.1 (arXiv 2512.17351).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .. import examples
from ..base import Look, Task, ValidationResult
from ..papers import PHYSICS_4_1
from . import content, generate, validate
from .audit import audit_of
from .config import KEYS, check, hop_choices, max_tokens, mean_tokens, tokens
from .content import count_distinct
from .generate import schema
from .hops import HOPS
from .texts import ABOUT, COLUMNS

if TYPE_CHECKING:
    import datasets

__all__ = [
    "TASK",
    "VERSION",
    "generate_depo_example",
    "make_depo_hf_dataset",
    "validate_depo_example",
]

VERSION = 2  # 1 handed out words in the order in which they were drawn


def distinct(config: Mapping[str, Any], by_content: bool) -> int | None:
    """How many different examples there are, exactly; see `tasks.depo.content.count_distinct`."""
    return count_distinct(config, len(hop_choices(config)), by_content)


def look(example: Mapping[str, Any], config: Mapping[str, Any], tree: bool) -> Look:
    """A question a line."""
    base = config["query_token_base"]
    places = [at for at, token in enumerate(example["input_ids"]) if base < token <= base + config["K"]]
    hops = " ".join(map(str, example["query_hops"]))
    return Look(facts=f"n {example['n']}, hops {hops}", breaks=places)


TASK = Task(
    name="depo",
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
    hops=HOPS,
    look=look,
    test_form={"qa": True},
    content=content.content,
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
