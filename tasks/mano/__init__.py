"""Mano: modular arithmetic in prefix form (knowledge manipulation).

An expression of l operators over the values 0..value_mod-1, and its value. Each inner node of its tree
draws its operator uniformly from `ttype`, then the number of operators of its left child uniformly from
what is left; where a division by zero comes up, the whole expression is redrawn.

    <bos> <len_l> expression <ans_l> answer        2l + 5 tokens, loss on all of them

Source: Physics of Language Models, Part 4.1 (arXiv 2512.17351).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .. import examples
from ..base import Task, ValidationResult
from ..papers import PHYSICS_4_1
from . import content, generate, look, validate
from .audit import audit_of
from .config import KEYS, check, tokens
from .content import distinct
from .generate import max_tokens, mean_tokens, schema
from .texts import ABOUT, COLUMNS

if TYPE_CHECKING:
    import datasets

__all__ = [
    "TASK",
    "VERSION",
    "generate_mano_example",
    "make_mano_hf_dataset",
    "validate_mano_example",
]

VERSION = 1


TASK = Task(
    name="mano",
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
    look=look.look,
    test_form={"qa": True},
    content=content.content,
    distinct=distinct,
    strata={"length": "length", "answer": "answer"},
    audit=audit_of,
)


def generate_mano_example(
    config: Mapping[str, Any] | None, seed: int, index: int = 0, split: str = "train"
) -> dict[str, Any]:
    """The example at one address: input_ids, loss_mask, labels, index, length, answer."""
    return examples.generate_example(TASK, config, seed, index, split)


def validate_mano_example(example: Mapping[str, Any], config: Mapping[str, Any] | None) -> ValidationResult:
    """Evaluate the example again from its tokens; truthy when valid, and says why when not."""
    return examples.validate_example(TASK, example, config)


def make_mano_hf_dataset(
    num_examples: int, config: Mapping[str, Any] | None, seed: int, split: str = "train"
) -> datasets.Dataset | list[dict[str, Any]]:
    """Examples 0..num_examples-1 as a `datasets.Dataset` (a list of dicts without that library)."""
    return examples.make_hf_dataset(TASK, num_examples, config, seed, split)
