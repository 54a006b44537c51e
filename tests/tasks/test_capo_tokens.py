"""Any tokenizer: the ids put together from pieces are those of the library for the whole text."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tokenizers
from capo_tokenizers import ALL, COMPOSABLE, LOSSY, save, word_piece
from facts.capo import DEFAULT_SMALL, FIELDS, SMALL, made
from facts.kinds import lists
from tokenizers import decoders, normalizers, pre_tokenizers

from ostraca.pipeline.commands.train_tokenizer import run as train_tokenizer_run
from ostraca.tasks.capo import check, own_tokenizer, tokens
from ostraca.tasks.capo.config import encoder_of, tokenizer_of
from ostraca.tasks.capo.encode import token_spans, why_not_composable
from ostraca.tasks.capo.lengths import max_tokens, mean_tokens
from ostraca.tasks.capo.pieces import SPANS, plan_of
from ostraca.tasks.capo.tokenizer import load_tokenizer
from ostraca.tasks.capo.train_tokenizer import train_tokenizer
from ostraca.tasks.capo.validate import validate
from ostraca.tasks.core.tokenizer import FILES
from ostraca.tasks.errors import ConfigError, OstracaError

DATA = Path(__file__).resolve().parents[2] / "tasks" / "capo" / "data"
byte_level, unigram, whole = (ALL[name] for name in ("byte-level BPE", "Unigram", "whole texts"))


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A folder of each kind of tokenizer."""
    root = tmp_path_factory.mktemp("tokenizers")
    return {name: save(make(), root / str(at)) for at, (name, make) in enumerate(ALL.items())}


def refusal(config: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        check(config)
    text = str(caught.value)
    assert "\n" not in text
    assert text.startswith("capo: ")
    return text


def assert_as_encoded(given: dict[str, Any], rows: int) -> None:
    """Ids and spans of every example are those of the library's own encoding of the same text."""
    config, batch = made(given, rows, seed=3)
    form = {"bio": "text", "tokenizer_name_or_path": None, "tokenizer_sha256": None}
    _, written = made({**given, **form}, rows, seed=3)
    loaded = tokenizer_of(config)
    ends = [loaded.end] if config["eos"] else []
    columns = ("input_ids", "value_starts", "value_ends", "char_starts", "char_ends")
    found = zip(*(lists(batch[name]) for name in columns), strict=True)
    spans = zip(lists(written["value_starts"]), lists(written["value_ends"]), strict=True)
    for text, (ids, starts, stops, firsts, lasts), (begins, pasts) in zip(
        written["text"].to_pylist(), found, spans, strict=True
    ):
        encoding = loaded.backend.encode(text, add_special_tokens=False)
        assert ids.tolist() == encoding.ids + ends
        assert firsts.tolist() == begins.tolist()
        assert lasts.tolist() == pasts.tolist()
        for place, name in enumerate(SPANS):
            covered = [
                at
                for at, (begin, end) in enumerate(encoding.offsets)
                if begin < lasts[place] and end > firsts[place]
            ]
            assert list(range(starts[place], stops[place])) == covered, name
    for name in ("index", "person", "exposure", "population"):
        assert batch[name].equals(written[name])
    assert validate(batch, config).all_valid


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("world", ["default", "own"])
def test_ids_are_those_of_the_whole_text(folders: dict[str, str], name: str, world: str) -> None:
    """Byte-level BPE, WordPiece in lower case, Unigram, Llama 3's pattern, and one of whole texts."""
    if world == "default" and name not in (
        "byte-level BPE",
        "llama 3",
        "WordPiece",
        "Unigram",
        "whole texts",
    ):
        return  # the kinds of one family differ in nothing that the lists could bring out
    given = {**(DEFAULT_SMALL if world == "default" else SMALL), "tokenizer_name_or_path": folders[name]}
    if (name, world) == ("whole texts", "own"):  # it drops letters that it has never seen
        assert "cannot be read back" in refusal(given)
        return
    assert_as_encoded({**given, "eos": world == "own", "reverse_md": world == "own"}, 40)
    assert bool(encoder_of(check(given)).why_whole) == (name == "whole texts")


def test_the_embedded_tokenizer_and_all_its_values_decode() -> None:
    """400 examples; a value's tokens are its text, with at most the space before it."""
    assert_as_encoded({}, 400)
    config, batch = made({}, 100)
    decode = tokenizer_of(config).backend.decode
    _, written = made({"bio": "text"}, 100)
    for row, text in zip(batch.to_pylist(), written["text"].to_pylist(), strict=True):
        assert decode(row["input_ids"], skip_special_tokens=False) == text + "<|endoftext|>"
        spans = zip(row["value_starts"], row["value_ends"], row["char_starts"], row["char_ends"], strict=True)
        for start, end, first, last in spans:
            assert decode(row["input_ids"][start:end]).removeprefix(" ") == text[first:last]


def test_the_mask_is_one_everywhere_and_the_end_is_the_tokenizers() -> None:
    for eos in (True, False):
        config, batch = made({"eos": eos}, 50)
        assert set(np.concatenate(lists(batch["loss_mask"])).tolist()) == {1}
        ends = {int(row[-1]) for row in lists(batch["input_ids"])}
        assert (ends == {tokenizer_of(config).end}) == eos


def test_a_token_counts_for_a_value_where_they_overlap() -> None:
    """Also where it holds the mark behind the value; an empty span stands where the value would."""
    offsets = [(0, 3), (3, 4), (4, 9), (9, 9), (9, 11)]
    spans = {(4, 9): (2, 3), (5, 8): (2, 3), (2, 5): (0, 3), (10, 11): (4, 5), (3, 4): (1, 2)}
    starts, ends = token_spans(offsets, *(np.array(side, np.int32) for side in zip(*spans, strict=True)))
    assert list(zip(starts.tolist(), ends.tolist(), strict=True)) == list(spans.values())
    three, five = np.array([3], np.int32), np.array([5], np.int32)
    assert [side.tolist() for side in token_spans([(0, 3), (5, 6)], three, five)] == [[1], [1]]
    assert [side.tolist() for side in token_spans([], three, five)] == [[0], [0]]


@pytest.mark.parametrize("name", COMPOSABLE)
def test_known_tokenizers_are_composed(folders: dict[str, str], name: str) -> None:
    loaded = load_tokenizer(folders[name])
    assert why_not_composable(loaded, plan_of(None, None, False)) == ""


def changed(base: tokenizers.Tokenizer, **parts: Any) -> tokenizers.Tokenizer:
    """A tokenizer with other components (of its tokenizer.json)."""
    content = json.loads(base.to_str())
    model = parts.pop("model", {})
    return tokenizers.Tokenizer.from_str(
        json.dumps({**content, **parts, "model": {**content["model"], **model}})
    )


def added(base: tokenizers.Tokenizer, content: str) -> tokenizers.Tokenizer:
    base.add_tokens([tokenizers.AddedToken(content, normalized=False)])
    return base


def spaces_kept(base: tokenizers.Tokenizer) -> tokenizers.Tokenizer:
    """A pattern that keeps pairs of words together."""
    base.pre_tokenizer = pre_tokenizers.Split(tokenizers.Regex(r"\w+ \w+|\W+|\w+"), behavior="isolated")
    return base


def of_another_normalizer(base: tokenizers.Tokenizer) -> tokenizers.Tokenizer:
    base.normalizer = normalizers.Replace("e", "e")
    return base


def longer_words(base: tokenizers.Tokenizer) -> tokenizers.Tokenizer:
    """More tokens than a text has bytes; what it puts in is taken out again."""
    base.normalizer = normalizers.Replace(" ", " ######")
    base.decoder = decoders.Sequence([decoders.ByteLevel(), decoders.Replace("######", "")])
    return base


WHOLE = {
    "no pre-tokenizer": (whole, "pre-tokenizer"),
    "a pattern over spaces": (lambda: spaces_kept(whole()), "pre-tokenizer"),
    "Metaspace that does not split": (
        lambda: changed(
            unigram(),
            pre_tokenizer={
                "type": "Metaspace",
                "replacement": "▁",
                "prepend_scheme": "always",
                "split": False,
            },
        ),
        "pre-tokenizer",
    ),
    "a normalizer that is not known": (lambda: of_another_normalizer(byte_level()), "normalizer Replace"),
    "a normalizer that puts much in": (lambda: longer_words(byte_level()), "normalizer Replace"),
    "an added token of several words": (lambda: added(byte_level(), "was born"), "added token 'was born'"),
    "an added token that is a space": (lambda: added(byte_level(), " "), "added token ' '"),
}


@pytest.mark.parametrize("name", WHOLE)
def test_others_are_applied_to_whole_texts(tmp_path: Path, name: str) -> None:
    """Where a component is not known to cut before every space; the ids are the library's all the same."""
    make, why = WHOLE[name]
    given = {**DEFAULT_SMALL, "tokenizer_name_or_path": save(make(), tmp_path)}
    assert why in encoder_of(check(given)).why_whole
    assert_as_encoded(given, 25)
    config, batch = made({**given, "exposures": 100}, 300)
    sizes = [len(row) for row in lists(batch["input_ids"])]
    assert max(sizes) <= max_tokens(config)
    assert abs(np.mean(sizes) / mean_tokens(config) - 1) < 0.05


def test_pieces_that_differ_from_whole_texts_are_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even where the components were misjudged, ids are compared before they are used."""
    monkeypatch.setattr("ostraca.tasks.capo.encode.why_not_composable", lambda loaded, plan: "")
    given = {**DEFAULT_SMALL, "tokenizer_name_or_path": save(whole(), tmp_path)}
    assert "differ" in encoder_of(check(given)).why_whole
    assert_as_encoded(given, 10)


def test_added_tokens_that_cannot_stand_in_a_text_do_no_harm(tmp_path: Path) -> None:
    """Runs of spaces, brackets, other languages: as large tokenizers have by the hundred."""
    made_one = byte_level()
    for content in ("  ", "<|im_start|>", "\n\n", "[INST]", "日本"):
        added(made_one, content)
    given = {**SMALL, "tokenizer_name_or_path": save(made_one, tmp_path)}
    assert encoder_of(check(given)).why_whole == ""
    assert_as_encoded(given, 10)


def test_what_is_lossy_and_whole_is_refused(tmp_path: Path) -> None:
    """No example of it could be checked."""
    base = word_piece(pre_tokenizers.Split(tokenizers.Regex(r"[a-z]+"), behavior="isolated"))
    text = refusal({**SMALL, "tokenizer_name_or_path": save(base, tmp_path)})
    assert "works on whole texts only (its pre-tokenizer" in text
    assert "bio=text" in text


def test_truncation_padding_and_special_tokens_of_a_tokenizer_do_nothing(tmp_path: Path) -> None:
    both = ALL["WordPiece"]()
    _, one = made({**SMALL, "tokenizer_name_or_path": save(both, tmp_path / "a")}, 20)
    both.enable_truncation(max_length=10)
    both.enable_padding(length=600)
    _, same = made({**SMALL, "tokenizer_name_or_path": save(both, tmp_path / "b")}, 20)
    assert one["input_ids"].equals(same["input_ids"])
    assert load_tokenizer(str(tmp_path / "a")).sha256 == load_tokenizer(str(tmp_path / "b")).sha256


# ---- loading


def test_the_digest_is_filled_in_and_holds(folders: dict[str, str], tmp_path: Path) -> None:
    """A tokenizer of the same content elsewhere is as good; any other is refused by both digests."""
    config = check({**SMALL, "tokenizer_name_or_path": folders["Unigram"]})
    digest = load_tokenizer(folders["Unigram"]).sha256
    assert config["tokenizer_sha256"] == digest
    assert check(config) == config
    content = json.loads(Path(folders["Unigram"], "tokenizer.json").read_text())
    (tmp_path / "tokenizer.json").write_text(json.dumps(dict(reversed(content.items())), indent=3))
    moved = {**config, "tokenizer_name_or_path": str(tmp_path)}
    assert check(moved)["tokenizer_sha256"] == digest
    text = refusal({**config, "tokenizer_name_or_path": folders["llama 3"]})
    assert digest in text
    assert load_tokenizer(folders["llama 3"]).sha256 in text
    assert check({"tokenizer_sha256": load_tokenizer(None).sha256}) == check({})
    assert "is not the digest" in refusal({"tokenizer_sha256": digest})


def test_a_file_that_changed_is_loaded_again(tmp_path: Path) -> None:
    save(byte_level(), tmp_path)
    one = load_tokenizer(str(tmp_path)).sha256
    save(unigram(), tmp_path)
    assert load_tokenizer(str(tmp_path)).sha256 != one
    assert load_tokenizer(str(tmp_path / "tokenizer.json")).sha256 == load_tokenizer(str(tmp_path)).sha256


def test_the_end_of_text_token_is_found_or_asked_for(tmp_path: Path) -> None:
    """By the tokenizer_config.json beside it (a text or an entry), else by its usual names."""
    assert load_tokenizer(None).end == 0
    assert load_tokenizer(save(ALL["WordPiece"](), tmp_path / "bert")).end == 3
    named = load_tokenizer(save(ALL["WordPiece"](), tmp_path / "named", end="[PAD]"))
    assert named.end == 0
    (tmp_path / "named" / "tokenizer_config.json").write_text('{"eos_token": {"content": "[MASK]"}}')
    changed_file = Path(tmp_path / "named" / "tokenizer.json")
    changed_file.write_text(changed_file.read_text() + "\n")
    assert load_tokenizer(str(tmp_path / "named")).end == 4
    none = save(byte_level(), tmp_path / "none", end="</nothing>")
    assert "has no end-of-text token; name it as eos_token" in refusal(
        {**SMALL, "tokenizer_name_or_path": none}
    )
    assert check({**SMALL, "tokenizer_name_or_path": none, "eos": False})


def test_what_cannot_be_loaded_is_refused_with_what_to_pass_instead(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "tokenizer.json").write_text("{}")
    (tmp_path / "empty").mkdir()
    (tmp_path / "x.json").write_text("not JSON")
    for name in ("bad", "empty", "x.json", "nothing.json", "nothing"):
        text = refusal({**SMALL, "tokenizer_name_or_path": str(tmp_path / name)})
        assert "pass a folder with a tokenizer.json" in text, text
        assert "ostraca train-tokenizer" in text
    assert "without the network" in refusal({**SMALL, "tokenizer_name_or_path": "no-such-org/no-such-model"})
    save(byte_level(), tmp_path / "odd")
    (tmp_path / "odd" / "tokenizer_config.json").write_text("[1]")
    assert "tokenizer_config.json is not a JSON object" in refusal(
        {"tokenizer_name_or_path": str(tmp_path / "odd")}
    )


def test_random_tokenizers_and_those_without_an_unknown_token_are_refused(tmp_path: Path) -> None:
    random = changed(byte_level(), model={"dropout": 0.1})
    text = refusal({**SMALL, "tokenizer_name_or_path": save(random, tmp_path / "random")})
    assert "draws its tokens at random (model.dropout=0.1)" in text
    content = json.loads(ALL["WordPiece"]().to_str())
    content["model"]["vocab"] = {"he": 0, "was": 1}
    content["added_tokens"] = []
    content["post_processor"] = None
    (tmp_path / "few").mkdir()
    (tmp_path / "few" / "tokenizer.json").write_text(json.dumps(content))
    text = refusal({**SMALL, "tokenizer_name_or_path": str(tmp_path / "few"), "eos": False})
    assert "cannot encode" in text


def test_values_without_any_token_are_refused(tmp_path: Path) -> None:
    """A tokenizer of letters that it has seen, which drops all others, and a name in another script."""
    base = whole()
    base.pre_tokenizer = pre_tokenizers.Whitespace()
    fields = {**FIELDS, "first_names": ["Ann", "\u65e5\u672c"]}
    given = {**SMALL, "num_people": 5, "tokenizer_name_or_path": save(base, tmp_path)}
    assert "no token at all for '\u65e5\u672c'" in refusal({**given, "fields": fields})
    assert_as_encoded(given, 10)  # a letter less is no matter


def test_a_tokenizer_of_transformers_is_the_same_as_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder goes past transformers; a name goes through it."""
    pytest.importorskip("transformers")
    from transformers import AutoTokenizer

    folder = save(byte_level(), tmp_path, end="<|endoftext|>")
    found = AutoTokenizer.from_pretrained(folder)
    monkeypatch.setattr(AutoTokenizer, "from_pretrained", lambda name, **keys: found)
    by_name = load_tokenizer("someone/something")
    by_path = load_tokenizer(folder)
    assert by_name.end == by_path.end
    text = "Ann Lee Stone was born on May 1, 1999."
    assert by_name.encode(text).ids == by_path.encode(text).ids

    class Slow:
        eos_token_id = 0

    monkeypatch.setattr(AutoTokenizer, "from_pretrained", lambda name, **keys: Slow())
    assert "is a slow tokenizer" in refusal({**SMALL, "tokenizer_name_or_path": "someone/slow"})


def test_names_of_tokens_are_the_tokenizers_own(folders: dict[str, str]) -> None:
    for name in ("llama 3", "WordPiece"):
        config = check({**SMALL, "tokenizer_name_or_path": folders[name]})
        loaded = tokenizer_of(config)
        names = tokens(config)
        assert len(names) == loaded.backend.get_vocab_size()
        assert all(loaded.backend.id_to_token(token) == name for token, name in names.items())
        text, end = own_tokenizer(config)
        assert end is not None
        assert loaded.backend.token_to_id(end) == loaded.end
        again = tokenizers.Tokenizer.from_str(text)
        assert again.get_vocab() == loaded.backend.get_vocab()
        assert again.encode("Ann was born.").ids[-3:] == loaded.backend.encode("Ann was born.").ids[-3:]


def test_lossy_tokenizers_are_among_those_tested(folders: dict[str, str]) -> None:
    for name in LOSSY:
        loaded = load_tokenizer(folders[name])
        assert loaded.encode("Élodie").ids == loaded.encode("elodie").ids


# ---- making one


def test_the_embedded_tokenizer_is_made_by_the_defaults(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Byte for byte: 4,096 tokens, of one biography each of 20,000 people of seed 0."""
    from ostraca import cli

    config = {**cli.compose("train-tokenizer", [f"out={tmp_path / 'made'}"])}
    assert train_tokenizer_run(config) == 0
    assert "4,096 tokens, of 20,000 biographies, seed 0" in capsys.readouterr().out
    for name in FILES:
        assert (tmp_path / "made" / name).read_bytes() == (DATA / name).read_bytes(), (
            "Capo's own tokenizer is no longer what its text makes: every corpus of tokens changes. Keep "
            "tasks/capo/data/tokenizer.json as it is, or raise Capo's VERSION."
        )


def test_a_trained_tokenizer_loads_everywhere(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    from transformers import AutoTokenizer

    folder = train_tokenizer(tmp_path / "made", vocab_size=300, num_people=50, seed=4)
    found = AutoTokenizer.from_pretrained(str(folder))
    assert len(found) == 300
    assert found.eos_token == "<|endoftext|>"
    assert found.eos_token_id == load_tokenizer(str(folder)).end == 0
    assert_as_encoded({**DEFAULT_SMALL, "tokenizer_name_or_path": str(folder)}, 20)
    again = train_tokenizer(tmp_path / "again", vocab_size=300, num_people=50, seed=4)
    assert (again / FILES[0]).read_bytes() == (folder / FILES[0]).read_bytes()
    other = train_tokenizer(tmp_path / "other", vocab_size=300, num_people=50, seed=5)
    assert (other / FILES[0]).read_bytes() != (folder / FILES[0]).read_bytes()


def test_what_is_there_already_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(OstracaError, match="exists already; choose a new folder"):
        train_tokenizer(tmp_path, vocab_size=300, num_people=10)
    with pytest.raises(OstracaError, match="exists already"):
        train_tokenizer(tmp_path / "notes.txt", vocab_size=300, num_people=10)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
    made_one = train_tokenizer(tmp_path / "new", vocab_size=300, num_people=10)
    before = (made_one / FILES[0]).read_bytes()
    with pytest.raises(OstracaError, match="exists already"):
        train_tokenizer(made_one, vocab_size=310, num_people=10)
    assert (made_one / FILES[0]).read_bytes() == before
    assert sorted(path.name for path in made_one.iterdir()) == sorted(FILES)


@pytest.mark.parametrize(
    ("key", "value"),
    [("vocab_size", 256), ("num_people", 0), ("seed", -1), ("out", None), ("fields_dir", 1.5)],
)
def test_bad_values_of_the_command_are_refused(tmp_path: Path, key: str, value: Any) -> None:
    config = {"out": str(tmp_path / "x"), "vocab_size": 300, "num_people": 5, "seed": 0}
    config |= {"fields_dir": None, "templates_dir": None, key: value}
    with pytest.raises(ConfigError, match=f"^{key}="):
        train_tokenizer_run(config)
    assert not list(tmp_path.iterdir())
