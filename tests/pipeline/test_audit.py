"""The audit finds every planted leak, and nothing in what follows the law."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from planted import CONFIG, depo_rows

from ostraca import cli
from ostraca.pipeline.check.audit.judge import Finding, judge
from ostraca.pipeline.check.audit.streams import Sample, compare, count_made, sample_of
from ostraca.pipeline.check.audit.tally import Tally
from ostraca.tasks import TASKS, get_task
from ostraca.tasks.auditing import Audit, Law
from ostraca.tasks.brevo import generate as brevo
from ostraca.tasks.examples import complete_config, generate_batches

ROWS = 20_000


def findings(rows: int = ROWS, seed: int = 0, **planted: Any) -> list[Finding]:
    """The audit of planted Depo in its test form."""
    config = get_task("depo").check(CONFIG)
    audit = get_task("depo").audit
    assert audit is not None
    tally = Tally(audit=audit(config))
    for first in range(0, rows, 5000):
        index = np.arange(first, first + 5000)
        tally.add(index, tally.audit.tables(depo_rows(config, index, seed, **planted)))
    return judge(tally)


def off(found: list[Finding]) -> set[str]:
    return {f"{each.kind} {each.name}" for each in found if each.off}


@pytest.mark.parametrize("seed", range(2))
def test_depo_from_the_published_law_is_clean(seed: int) -> None:
    """Another generator than the project's own: the declarations are the law's, not the code's."""
    assert off(findings(seed=seed)) == set()


def test_words_in_draw_order_are_found() -> None:
    """Version 1: early words are short, so neighbours on the cycle have like lengths."""
    assert off(findings(draw_order=True)) >= {"pair asked_length → answer_length"}


def test_an_answer_biased_by_one_percent_is_found() -> None:
    assert off(findings(rows=200_000, biased=0.01)) >= {"law hop"}


def test_edges_in_graph_order_are_found() -> None:
    assert off(findings(rows=5000, graph_order=True)) >= {"law answer_shift"}


def brevo_findings(monkeypatch: pytest.MonkeyPatch, draw_order: bool, rows: int = 40_000) -> list[Finding]:
    """The audit of Brevo2-50 whose nodes have their words in random order, or early ones the short."""
    name_by_words = brevo.name_by_words

    def named(states: Any, firsts: Any, *rest: Any) -> None:
        name_by_words(states, firsts, *rest)
        words, lengths = rest[3:5]
        rng = np.random.default_rng(0)
        times = rng.exponential(size=len(lengths)) * (4.0**lengths if draw_order else 1.0)
        order = np.lexsort((times, np.repeat(np.arange(len(firsts) - 1), np.diff(firsts))))
        words[:], lengths[:] = words[order], lengths[order]

    monkeypatch.setattr(brevo, "name_by_words", named)
    task = get_task("brevo")
    config = task.check({"N": 50, "multi": True})
    return judge(count_made(task, config, 0, "train", rows, 1))


def test_brevo_with_words_in_random_order_is_clean(monkeypatch: pytest.MonkeyPatch) -> None:
    assert off(brevo_findings(monkeypatch, draw_order=False)) == set()


def test_brevo_with_words_in_draw_order_is_flagged(monkeypatch: pytest.MonkeyPatch) -> None:
    """Version 1: the query is late, so its word is long; words in the answer grow."""
    found = off(brevo_findings(monkeypatch, draw_order=True))
    assert found >= {"law query_length", "pair node_length → rank", "pair node_length → leaf"}


@pytest.mark.parametrize("name", TASKS)
def test_a_seed_reused_by_two_splits_is_found(name: str) -> None:
    """Whole examples that are equal, and every column; two real splits are independent."""
    task = get_task(name)
    config = complete_config(task, {"N": 20} if "N" in task.keys else {}, 0)
    assert task.audit is not None
    audit = task.audit(config)

    def sample(number: int, seed: int, split: str) -> Sample:
        made = generate_batches(task, config, seed, split, 0, 5000)
        return sample_of(split, audit, number, made, 5000)

    train, test = sample(0, 0, "train"), sample(1, 0, "test")
    assert all(each.chance > 1e-5 for each in compare("splits", audit, train, test))
    again = compare("splits", audit, train, replace(sample(2, 0, "train"), label="test"))
    assert all(each.chance < 1e-30 for each in again if each.kind == "repeats")
    assert sum(each.chance < 1e-30 for each in again) > len(again) / 2


def test_equal_examples_of_a_small_space_are_no_repeats() -> None:
    """Where there are few different examples, equal ones are chance: no more at equal indices."""
    task = get_task("depo")
    config = task.check({"N": 3, "K": 1, "M": 1, "mini_vocab": 3, "max_tlen": 1})
    assert task.audit is not None
    audit = task.audit(config)
    one, other = (
        sample_of(split, audit, number, generate_batches(task, config, 0, split, 0, 5000), 5000)
        for number, split in enumerate(("train", "test"))
    )
    (found,) = (each for each in compare("splits", audit, one, other) if each.kind == "repeats")
    assert found.bits > 0
    assert found.chance > 1e-5


def test_the_command_says_it_in_a_table_and_in_json(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["audit", "dataset=brevo1", "dataset.N=20", "examples=2000", "workers=2"]
    assert cli.main(words) == 0
    assert "clean: none of" in capsys.readouterr().out
    assert cli.main([*words, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert not document["off"]
    assert document["audits"][0]["examples"] == 2000
    kinds = {each["kind"] for each in document["audits"][0]["findings"]}
    assert kinds == {"law", "pair", "neighbours", "seeds", "splits", "repeats"}


@pytest.mark.parametrize(
    "settings", [[], ["format=webdataset"], ["pack.mode=whole", "pack.length=1024"], ["vocabulary=shared"]]
)
def test_a_built_corpus_is_audited_from_its_rows(
    settings: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every format; the counts are those of the same examples made on the spot."""
    out = f"out={tmp_path / 'c'}"
    built = ["build", "dataset=brevo1", "dataset.N=20", out, "engine=local", "examples=600", "report=false"]
    assert cli.main([*built, *settings]) == 0
    capsys.readouterr()
    assert cli.main(["audit", f"path={tmp_path / 'c'}", "json=true"]) == 0
    document = json.loads(capsys.readouterr().out)
    (train,) = (each for each in document["audits"] if each["name"].endswith(", train"))
    assert train["examples"] == 600
    task = get_task("brevo")
    made = judge(count_made(task, task.check({"N": 20}), 0, "train", 600, 1))
    found = {
        each["name"]: (each["rows"], each["chance"]) for each in train["findings"] if each["kind"] == "pair"
    }
    packed = any(word.startswith("pack") for word in settings)
    for each in made:
        if each.kind == "pair" and not (packed and "n" in (*each.given, *each.name.split())):
            assert found[each.name] == (each.rows, each.chance), each.name


def test_the_report_has_the_audit_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A section with a picture, put in place of an earlier one; the corpus stays whole."""
    path = tmp_path / "c"
    words = ["build", "dataset=brevo1", "dataset.N=20", f"out={path}", "engine=local", "examples=300"]
    assert cli.main(words) == 0
    for _ in range(2):
        assert cli.main(["audit", f"path={path}", "report=true", "examples=300"]) == 0
    page = (path / "report.html").read_text()
    assert page.count('<section id="audit">') == 1
    assert page.index('<section id="audit">') < page.index('<section id="again">')
    section = page[page.index('<section id="audit">') :].partition("</section>")[0]
    # Every test of both splits is a point of a picture.
    assert section.count("<svg") == 2
    assert section.count("<circle") > 60
    assert cli.main(["verify", f"path={path}"]) == 0
    (path / "report.html").unlink()
    capsys.readouterr()
    assert cli.main(["audit", f"path={path}", "report=true", "examples=300"]) != 0
    assert "no report.html to add the audit to" in capsys.readouterr().err
    assert cli.main(["audit", "dataset=brevo1", "report=true"]) != 0
    assert "path=DIR" in capsys.readouterr().err


def test_what_duplicates_left_out_may_change_is_not_judged(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Short expressions go, so lengths have another law: neither off, nor called clean in silence."""
    words = ["build", "dataset=mano-10", "dataset.L=3", f"out={tmp_path / 'c'}", "engine=local"]
    assert cli.main([*words, "examples=60000", "dedup.mode=drop"]) == 0
    capsys.readouterr()
    assert cli.main(["audit", f"path={tmp_path / 'c'}", "json=true", "report=true"]) == 0
    document = json.loads(capsys.readouterr().out)
    (train,) = (each for each in document["audits"] if each["name"].endswith(", train"))
    assert "were left out or redrawn" in train["note"]
    verdicts = {each["name"]: each["verdict"] for each in train["findings"] if each["kind"] == "law"}
    assert verdicts["operators"] == "not judged"
    assert verdicts["operator"] == "ok"
    page = (tmp_path / "c" / "report.html").read_text()
    assert page.count('class="read"') > 0
    assert "not judged" in page[page.index('<section id="audit">') :]


@pytest.mark.parametrize("kept", [1.0, 0.999, 0.4, 0.0])
def test_what_left_out_examples_cannot_explain_is_off(kept: float) -> None:
    """All of 5,000 examples have the first of 16 values: 4 bits, of which 0.4 can explain 1.3. And a value
    that the law never has is off whatever is left out."""
    law = np.array([*[1 / 16] * 16, 0.0])
    for value, explained in ((0, kept == 0.0), (16, False)):
        audit = Audit(
            columns={"x": {"a": 17}},
            tables=lambda batch: {},
            laws=(Law(unit="x", column="a", law=law),),
        )
        tally = Tally(audit=audit)
        tally.add(np.arange(5000), {"x": {"a": np.full(5000, value)}})
        (found,) = judge(tally, kept=kept)
        assert found.verdict == ("not judged" if explained else "OFF")


def test_cut_rows_are_not_called_off_for_being_cut(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of cut rows the whole examples are the short ones; nothing is said of a split that has none."""
    words = ["build", "dataset=brevo1", f"out={tmp_path / 'c'}", "engine=local", "examples=3000"]
    assert cli.main([*words, "report=false", "pack.mode=concat", "pack.length=400"]) == 0
    capsys.readouterr()
    assert cli.main(["audit", f"path={tmp_path / 'c'}"]) == 0
    assert "pack.mode=concat cuts examples" in capsys.readouterr().out
