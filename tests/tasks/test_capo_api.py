"""The edge of the system: single examples, data sets, what `inspect` shows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from facts.capo import DEFAULT_SMALL, SMALL, VARIED, made
from oracles.capo import SPANS, person

from ostraca.tasks.base import Look
from ostraca.tasks.capo import (
    TASK,
    check,
    generate_capo_example,
    look,
    make_capo_hf_dataset,
    tokens,
    validate_capo_example,
)
from ostraca.tasks.capo.config import tokenizer_of
from ostraca.tasks.errors import ConfigError
from ostraca.tasks.examples import complete_config
from ostraca.tasks.render import render, token_names

ABOUT = ["index", "person", "exposure", "population", "value_starts", "value_ends"]


@pytest.mark.parametrize("name", VARIED)
def test_an_example_is_whole(name: str) -> None:
    """Plain values: a text, or tokens with labels on all; the spans hold the person's values."""
    example = generate_capo_example({**VARIED[name], "bio": "text"}, seed=1, index=3)
    assert list(example) == ["text", *ABOUT]
    config = complete_config(TASK, {**VARIED[name], "bio": "text"}, 1)
    facts = person(config, example["person"])
    spans = zip(SPANS, example["value_starts"], example["value_ends"], strict=True)
    for span, start, end in spans:
        assert example["text"][start:end].lower() == facts[span].lower()
    assert validate_capo_example(example, config)
    in_tokens = generate_capo_example(VARIED[name], seed=1, index=3)
    assert list(in_tokens) == ["input_ids", "loss_mask", "labels", *ABOUT, "char_starts", "char_ends"]
    assert in_tokens["labels"] == in_tokens["input_ids"]
    assert in_tokens["char_starts"] == example["value_starts"]
    for key in ("index", "person", "exposure", "population"):
        assert in_tokens[key] == example[key]
    assert validate_capo_example(in_tokens, VARIED[name])
    labels = [*in_tokens["labels"][:-1], -100]
    assert not validate_capo_example({**in_tokens, "labels": labels}, VARIED[name])


@pytest.mark.parametrize("bio", ["tokens", "text"])
def test_the_dataset_holds_the_examples(bio: str) -> None:
    datasets = pytest.importorskip("datasets")

    given = {**DEFAULT_SMALL, "bio": bio}
    found = make_capo_hf_dataset(30, given, seed=3, split="test")
    assert isinstance(found, datasets.Dataset)
    assert list(found) == [generate_capo_example(given, 3, index, "test") for index in range(30)]
    assert len(make_capo_hf_dataset(0, given, 3)) == 0


def test_seeds_splits_and_configs_share_no_text() -> None:
    """2,000 examples each; the test form of the same people too."""
    groups = []
    for seed, split, given in (
        (0, "train", {}),
        (1, "train", {}),
        (0, "test", {}),
        (0, "test", {"exposures": 1}),
        (0, "train", {"num_people": 100_000}),
        (0, "train", {"order": False}),
    ):
        _, batch = made({**given, "bio": "text"}, 2000, seed=seed, split=split)
        groups.append(set(batch["text"].to_pylist()))
    assert [len(group) for group in groups] == [2000] * 6
    assert len(set.union(*groups)) == 12_000


def test_look_underlines_the_values_and_tells_the_text() -> None:
    example = generate_capo_example(DEFAULT_SMALL, seed=2, index=1)
    shown = look(example, check(DEFAULT_SMALL), False)
    text = generate_capo_example({**DEFAULT_SMALL, "bio": "text"}, seed=2, index=1)
    spans = list(zip(text["value_starts"], text["value_ends"], strict=True))
    facts = f"person {example['person']}, exposure {example['exposure']}"
    assert shown == Look(
        facts=facts,
        underlined=list(zip(example["value_starts"], example["value_ends"], strict=True)),
        text=text["text"] + "<|endoftext|>",
        text_underlined=spans,
    )
    as_text = look(text, check({**DEFAULT_SMALL, "bio": "text"}), False)
    assert as_text == Look(facts=facts, text=text["text"], text_underlined=spans)
    # A damaged row of a corpus is shown all the same.
    assert look({**example, "input_ids": [-1, 2**31 - 1]}, check(DEFAULT_SMALL), True).text == ""


@pytest.mark.parametrize("bio", ["tokens", "text"])
def test_an_example_is_rendered(bio: str) -> None:
    config = complete_config(TASK, {**DEFAULT_SMALL, "bio": bio}, 2)
    example = generate_capo_example(config, seed=2, index=1)
    verdict = validate_capo_example(example, config)
    names = token_names(tokens(config))
    text = render(example, look(example, config, False), verdict, names, color=False).plain
    assert f"person {example['person']}, exposure {example['exposure']}" in text
    assert text.rstrip().endswith("valid")


def test_every_id_has_the_tokenizers_name() -> None:
    names = tokens(check({}))
    backend = tokenizer_of(check({})).backend
    assert len(names) == 4096 == max(names) + 1
    assert names[0] == "<|endoftext|>"
    assert {token: backend.id_to_token(token) for token in names} == names
    names.clear()  # a copy
    assert len(tokens(check({}))) == 4096


def test_a_corpus_is_as_large_as_its_people_and_exposures() -> None:
    """Whoever asks for more is refused by the spec; the pipeline builds, reads and reproduces it."""
    from ostraca.pipeline.spec.check import check_spec

    def spec(**split: Any) -> dict[str, Any]:
        splits = {"train": split, "test": {"form": "test"}}
        return check_spec({"datasets": {"capo": {"task": "capo", "config": SMALL, "splits": splits}}})

    complete = spec()
    splits = complete["datasets"]["capo"]["splits"]
    assert (splits["train"]["examples"], splits["test"]["examples"]) == (180, 60)
    assert splits["train"]["config"]["population_seed"] == splits["test"]["config"]["population_seed"] == 0
    assert check_spec(complete) == complete
    with pytest.raises(ConfigError, match=r"180 \(num_people x exposures\)"):
        spec(examples=181)


@pytest.mark.parametrize("bio", ["tokens", "text"])
def test_a_corpus_is_built_verified_and_reproduced(tmp_path: Any, bio: str) -> None:
    """From the manifest alone, though the lists were read from a folder that is gone."""
    import shutil

    from facts.capo import FIELDS, write_lists

    from ostraca.pipeline.build.build import build
    from ostraca.pipeline.check.reproduce import reproduce
    from ostraca.pipeline.check.verify import verify

    folder = write_lists(tmp_path / "fields", FIELDS)
    config = {"num_people": 60, "exposures": 3, "bio": bio, "fields_dir": folder}
    splits = {"train": {}, "test": {"form": "test"}}
    spec = {"name": "c", "datasets": {"capo": {"task": "capo", "config": config, "splits": splits}}}
    build(spec, tmp_path / "corpus", engine="local")
    shutil.rmtree(folder)
    verify(tmp_path / "corpus")
    reproduce(tmp_path / "corpus")


def test_rows_of_any_number_have_spans_of_eight() -> None:
    for rows in (0, 1, 3):
        _, batch = made(DEFAULT_SMALL, rows)
        batch.validate(full=True)
        assert [len(row) for row in batch["value_starts"].to_pylist()] == [8] * rows
        assert np.array_equal(batch["index"].to_numpy(), np.arange(rows))
