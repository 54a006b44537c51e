"""A corpus whose ids are raised above another tokenizer's is the same corpus, with other ids in its rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from corpora import crowded, decoded
from small_shards import CONFIGS
from test_remake import FIVE, SPLITS, compare

from ostraca import cli
from ostraca.pipeline.build.build import build
from ostraca.pipeline.check.reproduce import reproduce
from ostraca.pipeline.check.verify import verify
from ostraca.pipeline.corpus.split import Split
from ostraca.pipeline.spec.check import check_spec, spec_digest
from ostraca.tasks.capo.train_tokenizer import train_tokenizer
from ostraca.tasks.core.tokenizer import load_tokenizer
from ostraca.tasks.errors import ConfigError
from ostraca.tasks.vocabulary import UNKNOWN, Renaming

OFFSET = 50257  # as many ids as GPT-2 has
CASES: dict[str, dict[str, Any]] = {
    "published": {"vocabulary": "published"},
    "shared": {"vocabulary": "shared"},
    "packed tar": {
        "vocabulary": "shared",
        "format": "webdataset",
        "pack": {"length": 512, "mode": "concat"},
    },
    "redrawn": {"dedup": {"mode": "redraw", "key": "content"}},
}


def spec_of(case: str, **more: Any) -> dict[str, Any]:
    names = [name for name in FIVE if case != "redrawn" or name != "capo"]
    return crowded({name: FIVE[name] for name in names}, SPLITS, **{**CASES[case], **more})


@pytest.fixture(scope="module")
def corpora(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Each case with the offset and, beside it, without. Tests must not change them."""
    root = tmp_path_factory.mktemp("offset")
    for case in CASES:
        build(spec_of(case), root / "lower" / case, engine="local")
        raised = spec_of(case, vocabulary_offset=OFFSET)
        build(raised, root / "above" / case, engine="local", report=True)
    return root


@pytest.mark.parametrize("case", CASES)
def test_every_id_is_raised_and_nothing_else(case: str, corpora: Path) -> None:
    sides = []
    for side in ("lower", "above"):
        manifest = json.loads((corpora / side / case / "manifest.json").read_text())
        sides.append(decoded(corpora / side / case, manifest["spec"]))
    plain, raised = sides
    for rows in plain.values():
        for row in rows.values():
            row["input_ids"] = [token + OFFSET for token in row["input_ids"]]
    assert raised == plain


@pytest.mark.parametrize("case", CASES)
def test_it_verifies_reproduces_and_replays(case: str, corpora: Path, tmp_path: Path) -> None:
    root = corpora / "above" / case
    assert verify(root, content=True) == []
    assert reproduce(root)[1] == []
    assert sum(compare(root, tmp_path / "alone"))


@pytest.mark.parametrize("case", CASES)
def test_it_is_shown_with_published_names(
    case: str, corpora: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = []
    for side in ("lower", "above"):
        assert cli.main(["inspect", f"path={corpora / side / case}", "show=1", "color=never"]) == 0
        shown.append(capsys.readouterr().out)
    assert shown[0].replace("lower", "above") == shown[1]


@pytest.mark.parametrize("case", ["published", "shared"])
@pytest.mark.parametrize("name", ["capo", "depo"])
def test_it_is_shown_as_the_tokenizer_beside_it_calls_it(
    name: str, case: str, corpora: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = corpora / "above" / case
    shown = []
    for tokenizer in (f"{root}/tokenizers/{name}", "null"):
        words = ["show=1", "color=never", f"name={name}", f"tokenizer_name_or_path={tokenizer}"]
        assert cli.main(["inspect", f"path={root}", *words]) == 0
        shown.append(capsys.readouterr().out.replace(f"<{name}:", "<"))
    assert shown[0].split() == shown[1].split() or case == "shared"
    assert str(OFFSET) not in shown[0]
    assert not any(word.isdigit() and int(word) > OFFSET for word in shown[0].split())


def test_a_spec_without_is_as_before() -> None:
    plain, zero = check_spec(spec_of("shared")), check_spec(spec_of("shared", vocabulary_offset=0))
    assert plain == zero
    assert "vocabulary_offset" not in plain
    raised = check_spec(spec_of("shared", vocabulary_offset=OFFSET))
    assert check_spec(raised) == raised
    assert raised["vocabulary_offset"] == OFFSET
    assert spec_digest(raised) != spec_digest(plain)
    assert {**raised, "vocabulary_offset": 0} == {**plain, "vocabulary_offset": 0}


@pytest.mark.parametrize("vocabulary", ["published", "shared"])
def test_ids_stay_within_int32(vocabulary: str) -> None:
    given = crowded({"m": CONFIGS["mano"]}, SPLITS, vocabulary=vocabulary)
    split = Split.of(check_spec(given), "m", "train")
    assert split.vocab_size is not None
    most = 2**31 - split.vocab_size
    assert Split.of(check_spec({**given, "vocabulary_offset": most}), "m", "train").vocab_size == 2**31
    line = (
        rf"^spec: vocabulary_offset={most + 1}: ids would go up to 2147483648, which int32 does not hold; "
        rf"lower it to {most} or less$"
    )
    with pytest.raises(ConfigError, match=line):
        check_spec({**given, "vocabulary_offset": most + 1})


@pytest.mark.parametrize("bad", [-1, 1.5, "x", True, 2**31, None, [1]])
def test_what_is_no_offset_is_refused(bad: Any) -> None:
    with pytest.raises(ConfigError, match="vocabulary_offset"):
        check_spec(crowded({"m": CONFIGS["mano"]}, SPLITS, vocabulary_offset=bad))


def test_texts_have_no_ids_to_raise() -> None:
    with pytest.raises(ConfigError, match="no dataset has ids, all hold texts; leave it out"):
        check_spec(crowded({"t": CONFIGS["capo-text"]}, SPLITS, vocabulary_offset=5))
    both = {"t": CONFIGS["capo-text"], "m": CONFIGS["mano"]}
    spec = check_spec(crowded(both, SPLITS, vocabulary="shared", vocabulary_offset=5))
    assert Split.of(spec, "t", "train").renaming is None


def test_ids_at_the_end_of_int32(tmp_path: Path) -> None:
    """No place of a table is so large: they are found by bisection."""
    spec = crowded({"m": CONFIGS["mano"]}, SPLITS, vocabulary="shared", vocabulary_offset=2**31 - 100)
    build(spec, tmp_path / "c", engine="local")
    assert verify(tmp_path / "c", content=True) == []
    assert reproduce(tmp_path / "c")[1] == []


@pytest.mark.parametrize("far", [1, 10**7])
@pytest.mark.parametrize("offset", [0, 7, 2**30])
def test_a_renaming_says_what_it_does_not_know(offset: int, far: int) -> None:
    sources = np.array([0, 2, 3, 3 + far], np.int32) + np.int32(offset)
    there = Renaming(sources=sources, targets=np.array([9, 8, 7, 6], np.int32))
    asked = np.array([-(2**31), -1, offset - 1, offset + 1, offset + 4 + far, 2**31 - 1], np.int64)
    assert there.ids(asked.astype(np.int32)).tolist() == [UNKNOWN] * len(asked)
    assert there.ids(sources).tolist() == [9, 8, 7, 6]
    assert there.inverse().ids(there.ids(sources)).tolist() == sources.tolist()
    assert there.inverse().ids(np.array([5, 10], np.int32)).tolist() == [UNKNOWN] * 2


@pytest.mark.parametrize("case", ["published", "shared"])
def test_no_file_says_another_id_than_the_rows_have(case: str, corpora: Path) -> None:
    """Of Capo there is the tokenizer of its texts alone, whose ids are those of the rows less the offset."""
    transformers = pytest.importorskip("transformers")
    root = corpora / "above" / case
    spec = json.loads((root / "manifest.json").read_text())["spec"]
    assert not (root / "tokenizer.json").exists()
    for name in spec["datasets"]:
        names: dict[int, str] = {}
        for split in spec["datasets"][name]["splits"]:
            names |= Split.of(spec, name, split).token_names()
        assert min(names) >= OFFSET
        tokenizer = transformers.AutoTokenizer.from_pretrained(root / "tokenizers" / name)
        if name == "capo":
            names = {token - OFFSET: called for token, called in names.items()}
        else:
            assert len(tokenizer) == max(names) + 1
        assert tokenizer.convert_ids_to_tokens(list(names)) == list(names.values())
    card = (root / "README.md").read_text()
    assert "The ids of capo are those of the tokenizer in `tokenizers/DATASET`, which is as it was" in card
    assert "All are raised by 50,257" in card
    assert 'from_pretrained("PATH")' not in card


def test_another_tokenizer_takes_the_names_in(tmp_path: Path) -> None:
    """As the card says: a tokenizer of just so many ids gives the corpus's names the corpus's ids."""
    transformers = pytest.importorskip("transformers")
    made = train_tokenizer(tmp_path / "own", vocab_size=400, num_people=30)
    own = transformers.AutoTokenizer.from_pretrained(made)
    offset = len(own)
    assert offset == load_tokenizer(str(made)).backend.get_vocab_size(with_added_tokens=True)
    four = {name: FIVE[name] for name in FIVE if name != "capo"}
    manifest = build(
        crowded(four, SPLITS, vocabulary="shared", vocabulary_offset=offset),
        tmp_path / "c",
        engine="local",
        report=True,
    )
    ours = transformers.AutoTokenizer.from_pretrained(tmp_path / "c")
    called = f'AutoTokenizer.from_pretrained("PATH").convert_ids_to_tokens(range({offset}, {len(ours)}))'
    assert f"own.add_tokens({called})" in (tmp_path / "c" / "README.md").read_text()
    text = "Some natural text."
    before = own(text)["input_ids"]
    own.add_tokens(ours.convert_ids_to_tokens(range(offset, len(ours))))
    assert len(own) == len(ours)
    assert own(text)["input_ids"] == before
    for name in four:
        for split in manifest["spec"]["datasets"][name]["splits"]:
            names = Split.of(manifest["spec"], name, split).token_names()
            assert own.convert_tokens_to_ids(list(names.values())) == list(names)


def test_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small = ["dataset=mano-10", "splits.train.examples=50", "splits.test.examples=20", "engine=local"]
    for words in (["vocabulary=shared", "vocabulary.offset=60000"], ["vocabulary.offset=60000"]):
        out = tmp_path / str(len(words))
        assert cli.main(["build", *small, *words, f"out={out}"]) == 0
        spec = json.loads((out / "manifest.json").read_text())["spec"]
        assert spec["vocabulary_offset"] == 60000
        assert cli.main(["verify", f"path={out}", "content=true"]) == 0
        again = tmp_path / f"again-{len(words)}"
        assert cli.main(["build", f"manifest={out}", f"out={again}", "engine=local"]) == 0
        assert cli.main(["diff", f"path={out}", f"other={again}"]) == 0
    assert cli.main(["plan", *small[:-1], "vocabulary.offset=60000"]) == 0
    capsys.readouterr()
    assert cli.main(["build", *small, "vocabulary.offset=-1", f"out={tmp_path / 'no'}"]) == 2
    assert capsys.readouterr().err == (
        "ostraca: spec: vocabulary_offset=-1 must be an integer from 0 to 2147483647\n"
    )


def test_exports_take_a_wider_type_or_refuse(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for offset, wide in ((50257, False), (2**16, True)):
        root = tmp_path / str(offset)
        spec = crowded({"m": CONFIGS["mano"]}, SPLITS, vocabulary="shared", vocabulary_offset=offset)
        build(spec, root, engine="local")
        for form in ("megatron", "olmo", "nanogpt"):
            capsys.readouterr()
            out = root.parent / f"{form}-{offset}"
            status = cli.main(["export", f"path={root}", f"to={form}", f"out={out}"])
            if form == "nanogpt" and wide:
                assert status == 2
                assert (
                    "build the corpus with less than vocabulary.offset=65536, or" in capsys.readouterr().err
                )
                continue
            assert status == 0
            told = json.loads((out / "export.json").read_text())
            assert told["vocabulary_offset"] == offset
            dtype = np.dtype(told["datasets"]["m"]["dtype"])
            assert dtype.itemsize == (4 if wide else 2)
            assert told["datasets"]["m"]["vocab_size"] > offset
