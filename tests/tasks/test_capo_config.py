"""Capo's keys alone: people, lists, sizes of examples."""

from __future__ import annotations

import numpy as np
import pytest
from facts.capo import FACTS, FIELDS, ONE, SIZES, TEMPLATES, VARIED, made, refusal
from facts.kinds import lists

from ostraca import cli
from ostraca.tasks.capo import TASK, check, tokens
from ostraca.tasks.capo.generate import generate, schema, who
from ostraca.tasks.capo.lengths import max_tokens, mean_tokens
from ostraca.tasks.capo.validate import validate
from ostraca.tasks.core.batch import unragged
from ostraca.tasks.errors import ConfigError
from ostraca.tasks.examples import complete_config, stream_of


@pytest.mark.parametrize("size", SIZES)
def test_presets_are_the_published_sizes(size: str) -> None:
    loaded = cli.compose("inspect", [f"dataset=capo-{size}"])["dataset"]
    assert check(loaded["config"]) == {**FACTS.defaults, "num_people": SIZES[size], "exposures": 100}
    assert TASK.count is not None
    assert TASK.count(check(loaded["config"])) == (SIZES[size] * 100, "num_people x exposures")


def test_what_check_returns_can_be_changed_without_harm() -> None:
    given = {"num_people": 5, "fields": {**FIELDS, "majors": ["Law"]}}
    check(given)["fields"]["majors"].append("x")
    assert given["fields"]["majors"] == ["Law"]
    assert check(given)["fields"]["majors"] == ["Law"]


def test_the_seed_is_filled_in_where_none_is_given() -> None:
    assert complete_config(TASK, {}, 7)["population_seed"] == 7
    assert complete_config(TASK, {"population_seed": 3}, 7)["population_seed"] == 3
    assert check({})["population_seed"] is None
    with pytest.raises(ConfigError, match="population_seed is null"):
        generate(check({}), stream_of(TASK, check({}), 0, "train"), np.arange(1))


def test_the_form_changes_no_word() -> None:
    """The same address whatever the tokenizer, tokens or text, with an end or without."""
    base = complete_config(TASK, {}, 1)
    key = stream_of(TASK, base, 1, "train").tolist()
    for form in ({"bio": "text"}, {"eos": False}, {"tokenizer_name_or_path": "x"}, {"tokenizer_sha256": "y"}):
        assert stream_of(TASK, {**base, **form}, 1, "train").tolist() == key
    for other in (
        {"num_people": 5},
        {"exposures": 5},
        {"order": False},
        {"reverse_md": True},
        {"population_seed": 2},
        {"fields": FIELDS},
        {"templates": TEMPLATES},
    ):
        assert stream_of(TASK, {**base, **other}, 1, "train").tolist() != key


def test_more_people_than_names_are_refused() -> None:
    """160,000,000 with the default lists; one of each gives one."""
    assert check({"num_people": 160_000_000})
    text = refusal({"num_people": 160_000_001})
    assert "num_people=160000001" in text
    assert "give 160,000,000; lower num_people or lengthen the lists" in text
    assert check({"num_people": 1, "fields": ONE})
    assert "give 1;" in refusal({"num_people": 2, "fields": ONE})
    names = 4 * 3 * 5
    _, batch = made({"num_people": names, "exposures": 1, "fields": FIELDS, "bio": "text"}, names)
    spans = [row.tolist() for row in lists(batch["value_ends"])]
    found = {text[: ends[0]] for text, ends in zip(batch["text"].to_pylist(), spans, strict=True)}
    assert batch.num_rows == names
    assert len(found) >= 12
    assert "give 60;" in refusal({"num_people": names + 1, "fields": FIELDS})


def test_texts_have_no_tokenizer() -> None:
    assert "bio='txt' (did you mean 'text'?) must be one of tokens, text" in refusal({"bio": "txt"})
    assert "tokenizer_name_or_path='x' with bio=text" in refusal(
        {"bio": "text", "tokenizer_name_or_path": "x"}
    )
    assert "tokenizer_sha256='x' with bio=text" in refusal({"bio": "text", "tokenizer_sha256": "x"})


def test_the_largest_corpus_works() -> None:
    """2^31 - 1 exposures of 160,000,000 people: over 2^58 examples, each at once."""
    config, batch = made({"num_people": 160_000_000, "exposures": 2**31 - 1}, np.array([0, 2**58, 2**62 - 1]))
    assert validate(batch, config).all_valid
    persons, exposures = who(config, stream_of(TASK, config, 0, "train"), np.array([0, 2**58, 2**62 - 1]))
    assert persons.max() < 160_000_000
    assert exposures.min() >= 0


def test_batches_beyond_arrow_are_refused() -> None:
    config = complete_config(TASK, {}, 0)
    indices = np.broadcast_to(np.int64(0), 2**25)
    with pytest.raises(OverflowError, match="fewer examples"):
        generate(config, stream_of(TASK, config, 0, "train"), indices)


@pytest.mark.parametrize("name", VARIED)
@pytest.mark.parametrize("bio", ["tokens", "text"])
def test_mean_and_largest_size_are_exact(name: str, bio: str) -> None:
    """The mean within five standard errors over 20,000 examples; none is larger than the bound.

    The mean is over all names and values there could be: a corpus of few people has its own.
    """
    few = VARIED[name].get("num_people", 10**6) < 1000
    given = {**VARIED[name], "bio": bio}
    if few and "fields" not in given:
        given["num_people"] = 20_000
    if "fields" in given:  # all the people there are
        given["num_people"] = 60 if given["fields"] is FIELDS else 1
    sizes = []
    for seed in range(30 if "fields" in given else 1):  # so many populations
        config, batch = made(given, 20_000 if "fields" not in given else 1000, seed=seed)
        sizes.append(np.diff(unragged(batch.column(0))[1]))
    means = np.array([size.mean() for size in sizes])
    lengths = np.concatenate(sizes)
    assert lengths.max() <= max_tokens(config)
    error = means.std() / np.sqrt(len(means)) if len(means) > 1 else lengths.std() / np.sqrt(len(lengths))
    assert abs(lengths.mean() - mean_tokens(config)) < 5 * error + 0.002 * lengths.mean()


def test_the_largest_size_is_reached() -> None:
    """In the small world, with all its 60 people over many seeds, the bound is an example."""
    for asked in (
        {"num_people": 60, "exposures": 200, "fields": FIELDS, "templates": TEMPLATES, "bio": "text"},
        {"num_people": 1, "exposures": 500, "fields": ONE, "templates": TEMPLATES, "bio": "text"},
    ):
        largest = 0
        for seed in range(40):
            config, batch = made(asked, 3000 if asked["num_people"] == 60 else 500, seed=seed)
            largest = max(largest, int(np.diff(unragged(batch["text"])[1]).max()))
        assert max_tokens(config) - 12 <= largest <= max_tokens(config)


def test_schemas_are_those_of_the_form() -> None:
    about = ["index", "person", "exposure", "population", "value_starts", "value_ends"]
    assert schema(check({"bio": "text"})).names == ["text", *about]
    assert schema(check({})).names == ["input_ids", "loss_mask", *about, "char_starts", "char_ends"]
    assert tokens(check({"bio": "text"})) == {}
