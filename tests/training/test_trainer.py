"""A built corpus in `transformers`: its tokenizers pad, its card's lines make labels, Trainer trains."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch

from ostraca.pipeline.build.build import build
from ostraca.tasks.vocabulary import split_names

CONFIGS: dict[str, dict[str, Any]] = {
    "depo": {"N": 20, "K": 4, "M": 5},
    "brevo": {"N": 12},
    "mano": {"L": 3},
    "lano": {"config_name": "cfg3b", "eos": True},
    "capo": {"num_people": 8, "exposures": 2},
}
TASKS = tuple(CONFIGS)


@pytest.fixture(scope="module", params=["published", "shared"])
def corpus(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of each task."""
    root = tmp_path_factory.mktemp("trainer") / request.param
    datasets = {
        name: {
            "task": name,
            "config": CONFIGS[name],
            "splits": {"train": {"examples": 16}},
        }
        for name in TASKS
    }
    build({"vocabulary": request.param, "datasets": datasets}, root, engine="local", report=True)
    return root


def loaded(root: Path, name: str, cache: Path) -> tuple[Any, Any]:
    """A dataset's rows and tokenizer."""
    import datasets
    from transformers import AutoTokenizer

    rows = datasets.load_dataset(str(root), name, split="train", cache_dir=str(cache))
    own = root if root.name == "shared" else root / "tokenizers" / name
    return rows, AutoTokenizer.from_pretrained(str(own))


@pytest.mark.parametrize("name", TASKS)
def test_a_corpuss_tokenizer_has_what_collators_ask_for(name: str, corpus: Path, tmp_path: Path) -> None:
    """Special tokens are those that exist, under the ids that they have in the rows."""
    from transformers import DataCollatorForLanguageModeling, DataCollatorWithPadding

    rows, tokenizer = loaded(corpus, name, tmp_path)
    spec = json.loads((corpus / "manifest.json").read_text())["spec"]
    names = split_names(spec, name, "train")
    assert all(tokenizer.convert_ids_to_tokens(token) == called for token, called in names.items())
    specials = (
        tokenizer.bos_token_id,
        tokenizer.eos_token_id,
        tokenizer.pad_token_id,
        tokenizer.unk_token_id,
    )
    if corpus.name == "published":
        by_name = {called: token for token, called in names.items()}
        end = by_name.get("<|endoftext|>", by_name.get("<eos>"))
        pad = by_name.get("<bos>", end)
        assert specials == (by_name.get("<bos>"), end, pad, None)
    assert tokenizer.pad_token_id is not None
    given = [{"input_ids": row} for row in rows["input_ids"]]
    longest = max(map(len, rows["input_ids"]))
    padded = DataCollatorWithPadding(tokenizer)([dict(each) for each in given])
    assert padded["input_ids"].shape == (16, longest)
    assert padded["attention_mask"].sum() == sum(map(len, rows["input_ids"]))
    clm = DataCollatorForLanguageModeling(tokenizer, mlm=False)([dict(each) for each in given])
    assert (clm["labels"][clm["attention_mask"] == 0] == -100).all()


def few_steps(out: Path) -> Any:
    """Two steps on the CPU, each of which is told."""
    from transformers import TrainingArguments

    return TrainingArguments(
        output_dir=str(out),
        max_steps=2,
        per_device_train_batch_size=4,
        use_cpu=True,
        report_to=[],
        logging_steps=1,
        disable_tqdm=True,
        save_strategy="no",
        seed=1,
    )


def test_trainer_trains_on_what_the_card_shows(corpus: Path, tmp_path: Path) -> None:
    """Two steps on the CPU; the lines of the card, word for word, are what makes the labels."""
    pytest.importorskip("accelerate")
    from transformers import DataCollatorForSeq2Seq, GPT2Config, GPT2LMHeadModel, Trainer

    name = min(TASKS)  # the one that the card loads
    rows, tokenizer = loaded(corpus, name, tmp_path)
    card = (corpus / "README.md").read_text()
    (code,) = (block for block in re.findall(r"```python\n(.*?)```", card, re.S) if "labels" in block)
    assert len(code.splitlines()) == 5
    where = str(corpus) if corpus.name == "shared" else f"{corpus}/tokenizers/{name}"
    assert f'AutoTokenizer.from_pretrained("{where.replace(str(corpus), "PATH")}")' in card
    names: dict[str, Any] = {"dataset": rows}
    exec(code, names)
    for row in names["dataset"]:
        learned = [
            -100 if mask == 0 else token
            for token, mask in zip(*map(row.get, ("input_ids", "loss_mask")), strict=True)
        ]
        assert row["labels"] == learned
    small = GPT2Config(vocab_size=len(tokenizer), n_positions=512, n_layer=1, n_embd=8, n_head=2)
    settings = few_steps(tmp_path / "out")
    trainer = Trainer(
        model=GPT2LMHeadModel(small),
        args=settings,
        train_dataset=names["dataset"],
        data_collator=DataCollatorForSeq2Seq(tokenizer),
        processing_class=tokenizer,
    )
    assert torch.isfinite(torch.tensor(trainer.train().training_loss))
    assert trainer.state.global_step == 2


def test_trainer_trains_on_an_endless_stream(tmp_path: Path) -> None:
    """Its loss of the first step is that of the stream's first batch."""
    pytest.importorskip("accelerate")
    from transformers import GPT2Config, GPT2LMHeadModel, Trainer

    from ostraca.loaders import TaskSource, TokenStream

    stream, same = (
        TokenStream(TaskSource("mano", CONFIGS["mano"]), batch_size=4, length=32) for _ in range(2)
    )
    small = GPT2Config(
        vocab_size=stream.source.vocab_size,
        n_positions=32,
        n_layer=1,
        n_embd=8,
        n_head=2,
        bos_token_id=0,
        eos_token_id=0,
    )
    model = GPT2LMHeadModel(small).eval()
    model.train = lambda mode=True: model  # type: ignore[method-assign,assignment]  # no dropout
    batch = next(iter(same.dataset()))
    expected = model(**batch).loss.item()  # position_ids too: Trainer hands on all that a model takes
    settings = few_steps(tmp_path / "out")
    trainer = Trainer(model=model, args=settings, train_dataset=stream.rows())
    trainer.train()
    # Trainer divides by all labels, of which the first of a row is never in the sum.
    labels = batch["labels"] != -100
    share = int(labels[:, 1:].sum()) / int(labels.sum())
    assert trainer.state.log_history[0]["loss"] == pytest.approx(expected * share, abs=1e-3)


def test_a_model_of_transformers_shifts_the_labels_itself() -> None:
    """What its loss holds each token's logits to is the label of the next one."""
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    model = GPT2LMHeadModel(GPT2Config(vocab_size=13, n_positions=16, n_layer=1, n_embd=8, n_head=2)).eval()
    tokens = torch.randint(13, (2, 9))
    labels = torch.where(torch.rand(2, 9) < 0.5, tokens, -100)
    found = model(input_ids=tokens, labels=labels)
    expected = torch.nn.functional.cross_entropy(found.logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten())
    torch.testing.assert_close(found.loss, expected)
