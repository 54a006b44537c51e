"""Whole-answer exact match against generation token by token, and against models that know the answers."""

import math
from typing import Any

import pytest
import torch
from small import DEPO, VOCABULARY, Oracle, tiny_llama

from ostraca.tasks import get_task
from ostraca.tasks.errors import ConfigError
from ostraca.training.evaluate.hops import HopScore, HopSet, choose_hops, hop_dataset, score_hop
from ostraca.training.models.base import LanguageModel

TASK = get_task("depo")
HOPS = TASK.hops
assert HOPS is not None
CPU = torch.device("cpu")


def dataset(hop: int, *, qa: bool = True, start: int = 0, count: int = 13, batch_size: int = 4) -> Any:
    config = HOPS.config(TASK.check(DEPO), hop, qa)
    hop_set = HopSet(task="depo", config=config, seed=7)
    return hop_dataset(hop_set, range(start, start + count), batch_size)


def score(model: LanguageModel, **keys: Any) -> HopScore:
    return score_hop(model, dataset(keys.pop("hop", 2), **keys), DEPO["answer_token_id"], device=CPU)


@torch.no_grad()
def by_generation(model: LanguageModel, batches: Any) -> tuple[int, int]:
    """(answers, right ones): each answer generated greedily from the tokens before it."""
    answers = right = 0
    for batch in batches:
        for tokens, labels in zip(batch["input_ids"].tolist(), batch["labels"].tolist(), strict=True):
            for at, label in enumerate(labels):
                if label != DEPO["answer_token_id"]:
                    continue
                end = at + 1
                while end < len(labels) and labels[end] not in (-100, DEPO["answer_token_id"]):
                    end += 1
                text = tokens[: at + 1]
                while len(text) < end:
                    text.append(int(model(torch.tensor([text]))[0, -1].argmax()))
                answers += 1
                right += text == tokens[:end]
    return answers, right


@pytest.mark.parametrize("seed", range(3))
def test_is_greedy_generation(seed: int) -> None:
    model = tiny_llama(canon="AC", seed=seed)
    # Random weights are never right: learn a little, so that some answers are and some are not.
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    batches = list(dataset(2, count=4))
    for _ in range(15 + 10 * seed):
        for batch in batches:
            logits = model(batch["input_ids"])[:, :-1].flatten(0, 1)
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(logits, batch["labels"][:, 1:].flatten()).backward()
            optimizer.step()
    for qa in (True, False):
        answers, right = by_generation(model, dataset(2, qa=qa))
        found = score(model, qa=qa)
        assert (found.answers, found.correct) == (answers, right)
    assert score(model, count=4).correct > 0


def test_an_oracle_scores_one() -> None:
    for hop in (1, 2, 4):
        found = score(Oracle(VOCABULARY), hop=hop)
        assert found.accuracy == 1.0
        assert found.answers == 13 * DEPO["M"]
        assert found.standard_error == 0.0


def test_the_answer_mark_does_not_count() -> None:
    words = set(range(1, 2 * DEPO["mini_vocab"] + 1))
    assert score(Oracle(VOCABULARY, wrong=words)).correct == 0
    assert score(Oracle(VOCABULARY, wrong={DEPO["answer_token_id"]})).accuracy == 1.0


def test_one_wrong_token_spoils_the_answer() -> None:
    """Wrong on one last token alone: exactly the answers that end in it are wrong."""
    token = DEPO["mini_vocab"] + 1
    ends = total = 0
    for batch in dataset(2):
        after = torch.nn.functional.pad(batch["labels"][:, 1:], (0, 1), value=-100)
        last = (batch["labels"] > DEPO["mini_vocab"]) & (batch["labels"] <= 2 * DEPO["mini_vocab"])
        ends += int((last & (batch["labels"] == token)).sum())
        total += int(last.sum())
        assert not (last & (after > 0)).any()
    found = score(Oracle(VOCABULARY, wrong={token}))
    assert 0 < ends < total
    assert (found.answers, found.correct) == (total, total - ends)


def test_batch_size_changes_nothing() -> None:
    model = tiny_llama(seed=2)
    assert (
        len(
            {
                (score(model, batch_size=size).correct, score(model, batch_size=size).answers)
                for size in (1, 3, 13)
            }
        )
        == 1
    )


def test_standard_error_is_that_of_the_examples() -> None:
    """qa: all examples ask alike, so it is the error of the mean of their accuracies."""
    oracle = Oracle(VOCABULARY, wrong={DEPO["mini_vocab"] + 1})
    each = [score(oracle, start=start, count=1).accuracy for start in range(13)]
    assert score(oracle).standard_error == pytest.approx(
        float(torch.tensor(each).std()) / math.sqrt(13), rel=1e-5
    )
    assert math.isnan(score(oracle, count=1).standard_error)


def test_puts_the_model_back_and_leaves_no_gradients() -> None:
    model = tiny_llama().train()
    score(model)
    assert model.training
    assert all(parameter.grad is None for parameter in model.parameters())


def test_sets_ask_their_hop_alone_and_differ_by_start() -> None:
    base = DEPO["query_token_base"]
    for hop in (1, 3):
        (batch,) = dataset(hop, count=4)
        asked = batch["input_ids"][(batch["input_ids"] > base) & (batch["input_ids"] <= base + DEPO["K"])]
        assert set(asked.tolist()) == {base + hop}
    (first,), (again,), (later,) = dataset(1, count=4), dataset(1, count=4), dataset(1, count=4, start=4)
    assert torch.equal(first["input_ids"], again["input_ids"])
    assert first["input_ids"].tolist() != later["input_ids"].tolist()


@pytest.mark.parametrize(
    ("hops", "line"),
    [([1, 5], "hops 1 to K=4"), ([0], "has 0"), ([], "is empty"), ([2, 2], "twice")],
)
def test_hops_that_cannot_be_measured_are_refused(hops: list[int], line: str) -> None:
    with pytest.raises(ConfigError, match=line):
        choose_hops(hops, "K", DEPO["K"])


def test_hops_by_default_are_powers_of_two() -> None:
    assert choose_hops(None, "K", 1) == (1,)
    assert choose_hops(None, "K", 11) == (1, 2, 4, 8)


def test_chance() -> None:
    config = TASK.check(DEPO)
    assert HOPS.chance(HOPS.config(config, 1, True)) == pytest.approx(1 / 5)
    assert 1 / 5 < HOPS.chance(HOPS.config(config, 1, False)) < 1 / 3
