"""What a corpus says of itself, sentence by sentence, and the test that guards each.

A new sentence in the card, the page or croissant.json fails here until someone writes into `SAID` what
guards it. What the tables say of columns is guarded by `test_report.py` (each is explained) and by
`tests/tasks/test_contract.py` (each is checked by the validator).
"""

from __future__ import annotations

import ast
import functools
import json
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from corpora import decoded

import ostraca
from ostraca import cli
from ostraca.pipeline.build.build import build
from ostraca.tasks import get_task

ROOT = Path(ostraca.__file__).resolve().parent.parent

VALID = (
    "tests/pipeline/test_validated.py::test_an_example_that_is_not_valid_ends_the_build",
    "tests/pipeline/test_validated.py::test_every_example_goes_past_the_validator",
    "tests/test_layering.py::test_the_validator_shares_nothing_with_the_generator",
)
AGAIN = (
    "tests/pipeline/test_verify.py::test_reproduce_needs_no_shard",
    "tests/pipeline/test_verify.py::test_reproduce_notices_a_wrong_digest",
    "tests/pipeline/test_again.py::test_a_corpus_is_made_again_byte_for_byte",
    "tests/pipeline/test_vocabulary_files.py::test_capo_is_made_again_without_the_tokenizer_it_came_with",
)
CONTENT = (
    "tests/pipeline/test_fingerprint.py::test_equals_the_definition",
    "tests/pipeline/test_build.py::test_same_content_for_other_shard_and_batch_sizes",
    "tests/pipeline/test_formats_end_to_end.py::test_the_content_is_the_same_in_every_format",
)
BYTES = (
    "tests/pipeline/test_verify.py::test_any_single_byte_is_noticed",
    "tests/pipeline/test_vocabulary_files.py::test_the_manifest_lists_every_file_and_verify_reads_them",
)
DIGESTS = ("tests/pipeline/test_verify.py::test_content_is_noticed_where_the_bytes_were_replaced_too",)
COUNTED = (
    "tests/pipeline/test_promises.py::test_the_figures_are_those_of_the_manifest",
    "tests/pipeline/test_statistics.py::test_batches_of_all_tasks_are_counted_as_plain_python_does",
)
TEXTS = ("tests/pipeline/test_statistics.py::test_texts_are_counted_in_bytes_all_of_them_learned",)
DISJOINT = (
    "tests/pipeline/test_disjoint.py::test_train_is_what_was_drawn_without_what_is_in_eval",
    "tests/pipeline/test_promises.py::test_the_figures_are_those_of_the_manifest",
)
SHARES = ("tests/pipeline/test_report.py::test_shares_of_duplicates_are_those_of_plain_counts",)
UNIQUE = (
    "tests/pipeline/test_dedup.py::test_exactly_the_rows_of_the_oracle_stay",
    "tests/pipeline/test_duplicates.py::test_a_deduplicated_corpus_has_none",
    "tests/pipeline/test_report.py::test_duplicates_are_told_everywhere",
)
LEARNED = (
    "tests/training/test_trainer.py::test_trainer_trains_on_what_the_card_shows",
    "tests/training/test_trainer.py::test_a_model_of_transformers_shifts_the_labels_itself",
)
TRAINED = (
    "tests/training/test_trainer.py::test_a_corpuss_tokenizer_has_what_collators_ask_for",
    "tests/training/test_trainer.py::test_trainer_trains_on_what_the_card_shows",
)
PRESET = (
    "tests/test_own_corpora.py::test_a_preset_keeps_its_name_and_is_what_its_card_says",
    "tests/test_own_corpora.py::test_the_card_says_which_preset_it_is",
)
STREAM = (
    "tests/loaders/test_law.py::test_every_rank_gives_its_lines_of_the_batches_of_the_law",
    "tests/loaders/test_stream.py::test_golden_order",
    "tests/loaders/test_stream.py::test_resume_after_every_step_at_another_world_size",
)
IDS = "tests/pipeline/test_promises.py::test_the_ids_are_as_many_as_the_card_says"
PAGE = "tests/pipeline/test_report.py::test_the_page_is_whole_html_that_loads_nothing"
ROWS = (
    "tests/pipeline/test_report.py::test_the_page_shows_rows_with_published_names_and_what_is_learned_marked"
)
PACKED = ("tests/pipeline/test_pack.py::test_every_row_is_well_formed",)
FACT = ("tests/pipeline/test_promises.py::test_the_names_are_those_of_the_manifest",)
PURE = (
    "tests/tasks/test_contract.py::test_any_order_of_indices_gives_the_same_examples",
    "tests/tasks/test_streams.py::test_every_part_of_an_address_changes_the_stream",
    "tests/pipeline/test_build.py::test_rows_are_the_examples_at_their_addresses",
    "tests/pipeline/test_dedup.py::test_exactly_the_rows_of_the_oracle_stay",
)

# What each dataset asks.
TASKS: dict[str, tuple[str, ...]] = {
    "Depo: reason deeply: which word comes k steps later on a directed cycle of n words?": (
        "tests/tasks/test_depo_laws.py::test_answers_are_the_node_hop_steps_on",
    ),
    "Brevo: reason broadly: all nodes that lead to this one, in topological order": (
        "tests/tasks/test_brevo_answers.py::test_made_answers_and_other_orders_are_valid_with_and_without_eos",
        "tests/tasks/test_brevo_answers.py::test_every_wrong_answer_gets_its_reason",
    ),
    "Mano: manipulate knowledge: the value of an expression modulo a prime, without writing steps": (
        "tests/tasks/test_mano_look.py::test_the_infix_form_has_the_value_of_the_example",
        "tests/tasks/test_mano_config.py::test_division_needs_a_prime",
    ),
    "Lano: find structure: sentences of a layered, ambiguous context-free grammar": (
        "tests/tasks/test_lano_parse.py::test_random_grammars_are_parsed_as_they_are_derived",
        "tests/tasks/test_lano_parse.py::test_parse_counts_are_those_of_all_derivations",
    ),
    "Capo: store knowledge: biographies, each person many times in different words": (
        "tests/tasks/test_capo_population.py::test_everybody_comes_up_exactly_as_often_as_exposures_says",
        "tests/tasks/test_capo_population.py::test_sentences_and_their_order_are_uniform",
    ),
}
# Every sentence, with … for what differs from corpus to corpus, and what guards it.
CARD: dict[str, tuple[str, ...]] = {
    "… examples of synthetic pretraining tasks of *Physics of Language Models*, … tokens, … of them "
    "in the loss.": COUNTED,
    "Made by Ostraca: every example was validated by code that did not make it, and anyone can make every "
    "one again from `manifest.json` alone.": (*VALID, *AGAIN),
    "Content digest: `…`.": (*FACT, *DIGESTS),
    "`report.html` shows the distributions and rows.": (PAGE, ROWS),
    "packed, in the same order on any number of ranks": STREAM,
    "Only tokens with `loss_mask` 1 are in the loss; the model shifts the labels by one itself:": LEARNED,
    "-100: only read": LEARNED,
    '`AutoTokenizer.from_pretrained("PATH")` has the special tokens there are and one to pad with, so '
    "`transformers.DataCollatorForSeq2Seq` and `transformers.Trainer` take these rows as they are.": TRAINED,
    '`AutoTokenizer.from_pretrained("PATH/tokenizers/…")` has the special tokens there are and one to pad '
    "with, so `transformers.DataCollatorForSeq2Seq` and `transformers.Trainer` take these rows as they "
    "are.": TRAINED,
    "Setting (…): the preset `…`, exactly.": PRESET,
    "Setting (…): no preset; as `…`, except ….": PRESET,
    "Ids are dense and disjoint over the tasks: … in all.": (
        "tests/tasks/test_vocabulary.py::test_shared_ids_are_dense_and_disjoint",
        IDS,
    ),
    '`tokenizer.json` names every one (`AutoTokenizer.from_pretrained("PATH")`).': (
        "tests/tasks/test_vocabulary.py::test_one_tokenizer_reads_every_row_of_a_shared_corpus",
    ),
    "Every dataset has the ids of its task as published; two tasks use the same id for different things.": (
        "tests/tasks/test_config.py::test_defaults_are_the_published_ones",
    ),
    "Largest id plus 1: ….": (IDS,),
    "`tokenizers/DATASET/tokenizer.json` names every one of a dataset's "
    '(`AutoTokenizer.from_pretrained("PATH/tokenizers/DATASET")`).': (
        "tests/tasks/test_vocabulary.py::test_a_published_corpus_has_its_tokenizer",
        "tests/tasks/test_vocabulary.py::test_published_datasets_have_a_tokenizer_each",
    ),
    "Not looked for: an example stands as often as it was drawn.": (
        "tests/pipeline/test_promises.py::test_without_deduplication_every_draw_stands",
    ),
    "No example of an eval split (any whose name does not begin with train) is in train, by its tokens: … "
    "that were drawn for train are left out.": DISJOINT,
    "Nothing else was looked for.": DISJOINT,
    "Two examples of a task that ask the same are one.": UNIQUE,
    "Two examples of a task that have the same tokens are one.": UNIQUE,
    "… were dropped: none stands twice, in whichever splits.": UNIQUE,
    "… were redrawn: none stands twice, in whichever splits.": UNIQUE,
    "None is in … either.": (
        "tests/pipeline/test_dedup_against.py::test_no_example_of_another_corpus_stays",
    ),
    "every byte against the manifest": BYTES,
    "every example made again from the manifest, and compared": AGAIN,
    "The content digest is of the examples alone, whatever the shards, the format and the "
    "libraries.": CONTENT,
    "Cite it, with the task versions: …; seed ….": FACT,
    "Spec digest: `…`.": FACT,
    "The tasks are those of *…* (arXiv 2512.17351).": PRESET,
    **TASKS,
}
REPORT: dict[str, tuple[str, ...]] = {
    "Synthetic pretraining data (…), made by Ostraca.": FACT,
    "Content digest …": (*FACT, *DIGESTS),
    "examples, each validated": VALID,
    "tokens": COUNTED,
    "bytes of text": TEXTS,
    "of the … are in the loss": COUNTED,
    "… of an example, on average": COUNTED,
    "in … shards, … bytes a token": COUNTED,
    "left out of train, as they are in an eval split": DISJOINT,
    "duplicates dropped, … of all": UNIQUE,
    "duplicates redrawn": UNIQUE,
    "rows of … tokens (…), … full": PACKED,
    "in the loss (loss_mask 1) only read": LEARNED,
    "in the corpus gone as duplicates": (
        "tests/pipeline/test_report.py::test_duplicates_are_told_everywhere",
    ),
    "… examples of … tokens, … in the loss.": COUNTED,
    "…: share of the examples that are gone": SHARES,
    "…: how many fewer, below the line how many more": SHARES,
    "every byte against the manifest": BYTES,
    "make it again from the manifest alone, and compare": AGAIN,
    "packed, in the same order on any number of ranks": STREAM,
    "An example is a pure function of its task, version, config, seed, split and index.": PURE,
    "An example is a pure function of its task, version, config, seed, split and index, and if it was "
    "redrawn of the number of the draw.": PURE,
    "The manifest holds all of these, so that anyone can make every example of this corpus again and prove "
    "that it is the same.": AGAIN,
    "The content digest is of the examples alone, whatever the shards, the file format and the libraries: "
    "cite it.": CONTENT,
    "The tasks are those of … (arXiv 2512.17351).": PRESET,
    **TASKS,
}
CROISSANT: dict[str, tuple[str, ...]] = {
    "Synthetic pretraining tasks (…) of … (arXiv 2512.17351), made by Ostraca.": PRESET,
    "Content digest ….": FACT,
    "manifest.json says how to make it again.": AGAIN,
}


@dataclass(frozen=True, kw_only=True)
class Corpus:
    """A corpus with its report; `said`: the document (see `said_by`) -> its sentences."""

    root: Path
    manifest: dict[str, Any]
    said: dict[str, list[str]]


@pytest.fixture(scope="module")
def corpora(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Corpus]:
    """Small corpora that together are told of in every way."""
    root = tmp_path_factory.mktemp("promises")
    small, mano = {"L": 2, "value_mod": 3, "knowledge_augment": False}, get_task("mano").check({})
    splits = {
        "train": {"examples": 600},
        "train_2": {"examples": 20},
        "test": {"examples": 20, "form": "test"},
    }
    sums = {"sums": {"task": "mano", "config": small, "splits": splits}}
    few = {"splits": {"train": {"examples": 20}}}
    cycle = {"cycle": {"task": "depo", "config": {"N": 8}, **few}}
    others = {
        "graph": {"task": "brevo", "config": {"N": 5}, **few},
        "grammar": {"task": "lano", "config": {"config_name": "cfg3b"}, **few},
        "people": {"task": "capo", "config": {"num_people": 10, "exposures": 2}, **few},
    }
    preset = {"mano-10": {"task": "mano", "config": mano, "splits": {"train": {"examples": 40}}}}
    people = {"task": "capo", "config": {"num_people": 5, "exposures": 2, "bio": "text"}}
    packed = {"length": 64, "mode": "best_fit"}
    specs: dict[str, dict[str, Any]] = {
        "disjoint": {"datasets": sums | cycle | others},
        "drop": {
            "datasets": sums | cycle,
            "vocabulary": "shared",
            "dedup": {"mode": "drop", "key": "content"},
        },
        "redraw": {
            "datasets": sums,
            "pack": packed,
            "dedup": {"mode": "redraw", "against": [str(root / "off")]},
        },
        "off": {"datasets": preset, "format": "webdataset", "dedup": {"mode": "off"}},
        "texts": {"datasets": {"people": {**people, "splits": {"train": {}}}}},
    }
    with pytest.MonkeyPatch.context() as patch:  # pictures take seconds
        patch.setattr("ostraca.pipeline.report.pictures.find_spec", lambda name: None)
        for name in ("off", "disjoint", "drop", "redraw", "texts"):
            build({"name": name, **specs[name]}, root / name, engine="local", report=True)
    return {name: corpus_in(root / name) for name in specs}


def corpus_in(root: Path) -> Corpus:
    manifest = json.loads((root / "manifest.json").read_text())
    description = json.loads((root / "croissant.json").read_text())["description"]
    said = {
        "README.md": list(of_card((root / "README.md").read_text())),
        "report.html": list(of_page((root / "report.html").read_text())),
        "croissant.json": list(sentences(description)),
    }
    return Corpus(root=root, manifest=manifest, said=said)


def sentences(text: str) -> Iterator[str]:
    """A text cut after each full stop and question mark that a new sentence follows."""
    yield from (
        each for each in re.split(r"(?<=[.?])\s+(?=[A-Z`…\d]|manifest)", " ".join(text.split())) if each
    )


def comments(code: str) -> Iterator[str]:
    yield from (found.strip() for found in re.findall(r"(?:^|\s)# *(.*)$", code, re.M))


def of_card(text: str) -> Iterator[str]:
    """The sentences of a card's paragraphs and the comments in its code; no headings, tables and pictures."""
    _, _, body = text.split("---\n", 2)
    for code in re.findall(r"```.*?\n(.*?)```", body, re.S):
        yield from comments(code)
    for paragraph in re.sub(r"```.*?```", "\n\n", body, flags=re.S).split("\n\n"):
        if not paragraph.strip().startswith(("#", "|", "![")):
            yield from sentences(paragraph)


class _Prose(HTMLParser):
    """The texts of paragraphs, notes, names of figures and code."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, str]] = []
        self._tag = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        rows = ("tokens", "tokens all", "below")  # examples, which say nothing of the corpus
        if tag in ("p", "dt", "small", "pre") and dict(attrs).get("class") not in rows:
            self._tag = tag
            self.found.append((tag, ""))

    def handle_endtag(self, tag: str) -> None:
        if tag == self._tag:
            self._tag = ""

    def handle_data(self, data: str) -> None:
        if self._tag:
            self.found[-1] = self._tag, self.found[-1][1] + data


def of_page(text: str) -> Iterator[str]:
    prose = _Prose()
    prose.feed(text)
    for tag, found in prose.found:
        yield from comments(found) if tag == "pre" else sentences(found)


DOCUMENTS = {"README.md": CARD, "report.html": REPORT, "croissant.json": CROISSANT}


def pattern(sentence: str) -> re.Pattern[str]:
    """… is anything in which no sentence ends."""
    return re.compile(r"(?:[^.]|\.(?! ))+?".join(map(re.escape, sentence.split("…"))))


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_sentence_is_in_the_list_and_the_list_has_no_other(
    document: str, corpora: Mapping[str, Corpus]
) -> None:
    """Whoever writes another sentence says there what guards it."""
    unused = set(DOCUMENTS[document])
    for corpus in corpora.values():
        assert len(corpus.said[document]) > 2
        for each in corpus.said[document]:
            known = {sentence for sentence in DOCUMENTS[document] if pattern(sentence).fullmatch(each)}
            assert known, f"{document} says {each!r}: write into this test what guards that"
            unused -= known
    assert unused == set(), f"no {document} says this any more"


@functools.cache
def names_of_tests(path: str) -> frozenset[str]:
    """The names of a file's tests."""
    body = ast.parse((ROOT / path).read_text()).body
    return frozenset(each.name for each in body if isinstance(each, ast.FunctionDef))


def test_every_guard_is_a_test() -> None:
    for document, said in DOCUMENTS.items():
        for sentence, guards in said.items():
            assert guards, f"{document}: nothing guards {sentence!r}"
            for guard in guards:
                path, _, name = guard.partition("::")
                assert name.startswith("test_"), guard
                assert name in names_of_tests(path), f"{document} says {sentence!r}, and {guard} is no test"


# ---- laws that only these documents state


def table_of(corpus: Corpus) -> dict[tuple[str, str], dict[str, str]]:
    """The rows of the card's first table, by dataset and split."""
    lines = (
        (corpus.root / "README.md").read_text().split("| dataset | split |")[1].split("\n\n")[0].splitlines()
    )
    heads, *rows = (
        [cell.strip() for cell in line.strip("| ").split("|")] for line in lines if "---" not in line
    )
    return {(row[0], row[1]): dict(zip(heads, row[2:], strict=True)) for row in rows}


def test_the_figures_are_those_of_the_manifest(corpora: Mapping[str, Corpus]) -> None:
    """Examples, tokens and learned ones are those of the rows, what was left out that of the manifest."""
    for name in ("disjoint", "drop"):
        corpus = corpora[name]
        rows = decoded(corpus.root, corpus.manifest["spec"])
        gone = {tuple(key.split("/")): each["dropped"] for key, each in corpus.manifest["dedup"].items()}
        assert sum(gone.values()) > 10
        for part, row in table_of(corpus).items():
            masks = [mask for each in rows[part].values() for mask in each["loss_mask"]]
            assert row["examples"] == f"{len(rows[part]):,}"
            assert row["tokens"] == f"{len(masks):,}"
            share = 100 * sum(masks) / len(masks)
            assert row["in the loss"] == ("100%" if share == 100 else f"{share:.1f}%")
            assert row["duplicates dropped"] == f"{gone[part]:,}"
        words = "that were drawn for train are left out" if name == "disjoint" else "were dropped"
        assert f" {sum(gone.values()):,} {words}" in " ".join(corpus.said["README.md"])


def test_the_names_are_those_of_the_manifest(corpora: Mapping[str, Corpus]) -> None:
    """Digests, versions and the seed."""
    for corpus in corpora.values():
        manifest, card = corpus.manifest, (corpus.root / "README.md").read_text()
        assert f"Content digest: `{manifest['content_digest']}`." in corpus.said["README.md"]
        assert f"Content digest {manifest['content_digest']}" in corpus.said["report.html"]
        assert f"Content digest {manifest['content_digest']}." in corpus.said["croissant.json"]
        assert f"Spec digest: `{manifest['spec_digest']}`." in corpus.said["README.md"]
        versions = ", ".join(f"{task} (version {version})" for task, version in manifest["tasks"].items())
        assert f"Cite it, with the task versions: {versions}; seed 0." in corpus.said["README.md"]
        for split, entry in manifest["splits"].items():
            assert f"\n| {split} | `{entry['content_digest']}` |\n" in card


def test_the_ids_are_as_many_as_the_card_says(corpora: Mapping[str, Corpus]) -> None:
    """Of a shared vocabulary each one; of published ones the largest is meant, and no row has a larger."""
    corpus = corpora["disjoint"]
    (said,) = (each for each in corpus.said["README.md"] if each.startswith("Largest id plus 1: "))
    sizes = dict(each.rsplit(" ", 1) for each in re.split(r", (?=[a-z])", said[19:-1]))
    assert sizes.keys() == corpus.manifest["spec"]["datasets"].keys()
    for dataset, size in sizes.items():
        assert size == f"{max(vocabulary(corpus.root / 'tokenizers' / dataset)) + 1:,}"
    shared = vocabulary(corpora["drop"].root)
    assert shared == set(range(len(shared)))
    assert f"tasks: {len(shared):,} in all." in " ".join(corpora["drop"].said["README.md"])


def vocabulary(folder: Path) -> set[int]:
    """The ids that a tokenizer.json names."""
    read = json.loads((folder / "tokenizer.json").read_text())
    return {*read["model"]["vocab"].values(), *(each["id"] for each in read.get("added_tokens", ()))}


def test_without_deduplication_every_draw_stands(tmp_path: Path) -> None:
    """Of few examples that there are, 200 draws: one row for each index."""
    config = {"L": 1, "value_mod": 2, "knowledge_augment": False}
    dataset = {"task": "mano", "config": config, "splits": {"train": {"examples": 200}}}
    manifest = build({"datasets": {"sums": dataset}, "dedup": {"mode": "off"}}, tmp_path, engine="local")
    (record,) = manifest["splits"]["train"]["shards"]
    table = pq.read_table(tmp_path / record["path"])
    assert table["index"].to_pylist() == list(range(200))
    assert len({tuple(row) for row in table["input_ids"].to_pylist()}) < 100


@pytest.mark.parametrize("document", ["README.md", "report.html"])
def test_the_commands_that_are_shown_succeed(
    document: str, corpora: Mapping[str, Corpus], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As they stand there: of the card in any folder, of the page in the corpus's own."""
    for corpus in corpora.values():
        monkeypatch.chdir(corpus.root)
        text = (corpus.root / document).read_text().replace("path=PATH", f"path={corpus.root}")
        commands = [
            shlex.split(line, comments=True)
            for line in re.findall(r"^(?:<.*<pre>)?(ostraca .*)$", text, re.M)
        ]
        assert [name for _, name, _ in commands] == ["verify", "reproduce"]
        for _, *words in commands:
            assert cli.main(words) == 0


# ---- the list in the project's README


def test_every_guard_that_the_readme_names_is_there() -> None:
    """A file, or one of the same folder as the one before it, or of any task, a folder, a make target."""
    text = (ROOT / "README.md").read_text().split("| promise | guarded by |")[1].split("\n\n")[0]
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M)
    rows = [line.strip("| ").rsplit("|", 1) for line in text.splitlines()[2:]]
    assert len(rows) > 25
    for promise, guards in rows:
        names = re.findall(r"`([^`]+)`", guards)
        assert names, f"nothing guards {promise}"
        folder = tasks = ROOT / "tests/tasks"
        for name in names:
            if name.startswith("make "):
                assert name[5:] in targets, name
                continue
            folder = (ROOT / name).parent if "/" in name else folder
            found = [path for each in (folder, tasks) for path in each.glob(f"*{Path(name).name}")]
            assert found, f"{promise}: {name} is not there"
