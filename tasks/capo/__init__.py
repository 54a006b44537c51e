"""Capo: knowledge capacity, measured on synthetic biographies (bioS).

A fixed population (`tasks.capo.people`), and an example a paragraph of six sentences about one person:
birth date, birth city, university, major, city of work and employer, each in one of its templates, drawn
anew at every exposure, as is the order of the sentences. The first has the full name, the later ones the
pronoun. Among the first num_people * exposures examples everybody comes up exactly `exposures` times, in a
random order.

    Anya Briar Forger was born on October 2, 1996. She ... works for Adobe. <|endoftext|>   loss on all tokens

`bio=tokens` gives the tokens of any tokenizer, `bio=text` the same texts. The spans of all values stand
beside them: what bits learned per parameter are counted on.

Source: Physics of Language Models, Part 3.3 (arXiv 2404.05405) and Part 4.1 (arXiv 2512.17351).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from .. import examples
from ..base import Look, Proofs, Task, ValidationResult
from ..core.tokenizer import Loaded, read_back
from ..papers import PHYSICS_4_1
from . import generate, outline, validate
from .audit import audit_of
from .config import KEYS, address, check, count, seeded, tokenizer_of
from .generate import schema
from .lengths import max_tokens, mean_tokens
from .texts import ABOUT, COLUMNS

if TYPE_CHECKING:
    import datasets

__all__ = [
    "TASK",
    "VERSION",
    "generate_capo_example",
    "make_capo_hf_dataset",
    "validate_capo_example",
]

VERSION = 1


def tokens(config: Mapping[str, Any]) -> dict[int, str]:
    """id -> the tokenizer's own name of every one of its tokens; nothing for bio=text."""
    return {} if config["bio"] == "text" else dict(_names(tokenizer_of(config)))


@lru_cache(maxsize=4)
def _names(loaded: Loaded) -> dict[int, str]:
    known = loaded.backend.get_vocab(with_added_tokens=True)
    return {token: name for name, token in sorted(known.items(), key=lambda item: item[1])}


def own_tokenizer(config: Mapping[str, Any]) -> tuple[str, str | None]:
    """The tokenizer.json of the ids, and the token that ends a text."""
    loaded = tokenizer_of(config)
    return loaded.serialised, None if loaded.end is None else _names(loaded)[loaded.end]


def look(example: Mapping[str, Any], config: Mapping[str, Any], tree: bool) -> Look:
    """The values underlined, in the tokens and in the text below them."""
    spans = list(zip(example["value_starts"], example["value_ends"], strict=True))
    facts = f"person {example['person']}, exposure {example['exposure']}"
    if config["bio"] == "text":
        return Look(facts=facts, text=example["text"], text_underlined=spans)
    loaded = tokenizer_of(config)
    known = _names(loaded)
    text = read_back(loaded, [token for token in example["input_ids"] if token in known])
    in_text: list[tuple[int, int]] = []
    if (loaded.parts.get("decoder") or {}).get("type") == "ByteLevel":  # others do not give the text itself
        in_text = list(zip(example["char_starts"], example["char_ends"], strict=True))
    return Look(facts=facts, underlined=spans, text=text, text_underlined=in_text)


TASK = Task(
    name="capo",
    version=VERSION,
    keys=KEYS,
    check=check,
    schema=schema,
    generate=generate.generate,
    validate=validate.validate,
    proofs=Proofs(generate=generate.outlined, check=outline.check_outlined),
    mean_tokens=mean_tokens,
    max_tokens=max_tokens,
    tokens=tokens,
    about=ABOUT,
    columns=COLUMNS,
    paper=PHYSICS_4_1,
    look=look,
    test_form={"exposures": 1},
    count=count,
    tokenizer=own_tokenizer,
    seeded=seeded,
    address=address,
    audit=audit_of,
)


def generate_capo_example(
    config: Mapping[str, Any] | None, seed: int, index: int = 0, split: str = "train"
) -> dict[str, Any]:
    """The example at one address: its tokens (with labels) or text, person, exposure and value spans."""
    return examples.generate_example(TASK, config, seed, index, split)


def validate_capo_example(example: Mapping[str, Any], config: Mapping[str, Any] | None) -> ValidationResult:
    """Read the biography and hold it to the population; truthy when valid, and says why when not."""
    return examples.validate_example(TASK, example, config)


def make_capo_hf_dataset(
    num_examples: int, config: Mapping[str, Any] | None, seed: int, split: str = "train"
) -> datasets.Dataset | list[dict[str, Any]]:
    """Examples 0..num_examples-1 as a `datasets.Dataset` (a list of dicts without that library)."""
    return examples.make_hf_dataset(TASK, num_examples, config, seed, split)
