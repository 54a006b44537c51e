"""A tokenizer.json that would take all memory, hang or end the process gets one line instead."""

from __future__ import annotations

import base64
import json
import os
import struct
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
from capo_tokenizers import ALL, byte_level, save

from ostraca.tasks.capo import check
from ostraca.tasks.capo.tokenizer import load_tokenizer
from ostraca.tasks.core.tokenizer_file import MOST_BYTES, unfolded
from ostraca.tasks.errors import ConfigError
from ostraca.tasks.render import tokenizer_names


@lru_cache(maxsize=1)
def base() -> str:
    return byte_level().to_str()


def replace(pattern: str, content: str, kind: str = "String") -> dict[str, Any]:
    return {"type": "Replace", "pattern": {kind: pattern}, "content": content}


def sequence(*parts: dict[str, Any]) -> dict[str, Any]:
    return {"type": "Sequence", "normalizers": list(parts)}


def charsmap(longest: int) -> dict[str, Any]:
    """SentencePiece's table with an empty trie and one long text."""
    table = struct.pack("<II", 4, 0) + b"x" * longest + b"\0"
    return {"type": "Precompiled", "precompiled_charsmap": base64.b64encode(table).decode()}


def nested(part: dict[str, Any], depth: int) -> dict[str, Any]:
    for _ in range(depth):
        part = sequence(part)
    return part


MILLION = "x" * 10**6
DOUBLE = replace("a", "aa")
BYTES = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
HOSTILE: dict[str, Callable[[dict[str, Any]], Any]] = {
    "a letter is a million": lambda made: made.update(normalizer=replace("a", MILLION)),
    "an empty match is a million": lambda made: made.update(normalizer=replace("", MILLION, "Regex")),
    "a space in front is a million": lambda made: made.update(
        normalizer={"type": "Prepend", "prepend": MILLION}
    ),
    "doubled forty times": lambda made: made.update(normalizer=sequence(*[DOUBLE] * 40)),
    "doubled in sequences in sequences": lambda made: made.update(
        normalizer=sequence(*[nested(DOUBLE, 20)] * 40)
    ),
    "a table that multiplies": lambda made: made.update(normalizer=charsmap(10**6)),
    "bytes of bytes of bytes": lambda made: made.update(
        pre_tokenizer={"type": "Sequence", "pretokenizers": [BYTES] * 40}
    ),
    "a little of each letter, but of all": lambda made: made.update(
        normalizer=replace(".", "x" * 500, "Regex")
    ),
    "an added token that unfolds as it is loaded": lambda made: made.update(
        normalizer=replace("a", "b" * 900),
        added_tokens=[{**made["added_tokens"][0], "content": "a" * 50_000, "normalized": True}],
    ),
    "a decoder that multiplies": lambda made: made.update(decoder=replace("a", MILLION)),
    "a word without end": lambda made: made["model"].update(end_of_word_suffix=MILLION),
    "an id that is no int32": lambda made: made["model"]["vocab"].update({"far": 2**32 - 2}),
    "parts of another kind": lambda made: made.update(normalizer={"type": "Replace"}),
    "parts that are a list": lambda made: made.update(normalizer=[1]),
    "no vocabulary": lambda made: made.update(
        model={"type": "BPE", "vocab": {}, "merges": []}, added_tokens=[]
    ),
    "a vocabulary that is a list": lambda made: made["model"].update(vocab=[1, 2]),
    "added tokens that are numbers": lambda made: made.update(added_tokens=[1, 2]),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_would_take_all_memory_is_refused(name: str, tmp_path: Path) -> None:
    made = json.loads(base())
    HOSTILE[name](made)
    (tmp_path / "tokenizer.json").write_text(json.dumps(made))
    with pytest.raises(ConfigError, match="pass a") as caught:
        check({"tokenizer_name_or_path": str(tmp_path), "eos": False})
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


def fifo(path: Path) -> None:
    os.mkfifo(path)


def too_large(path: Path) -> None:
    with open(path, "wb") as file:
        file.truncate(MOST_BYTES + 1)


NO_FILES: dict[str, tuple[Callable[[Path], Any], str]] = {
    "a pipe": (fifo, "not a regular file"),
    "a device without end": (lambda path: path.symlink_to("/dev/zero"), "not a regular file"),
    "a folder": (lambda path: path.mkdir(), "cannot be loaded"),
    "over the limit": (too_large, "over 128 MiB"),
    "nested deep": (lambda path: path.write_text("[" * 10**6), "nested too deep"),
    "no JSON": (lambda path: path.write_text("{"), "not readable JSON"),
    "no object": (lambda path: path.write_text("[]"), "not a JSON object"),
    "no UTF-8": (lambda path: path.write_bytes(b"\xff\xfe"), "not UTF-8"),
    "empty": (lambda path: path.write_bytes(b""), "not readable JSON"),
    "nothing in it": (lambda path: path.write_text("{}"), "cannot be loaded"),
    "a link into nothing": (lambda path: path.symlink_to("nowhere"), "cannot be loaded"),
}


@pytest.mark.parametrize("load", [load_tokenizer, tokenizer_names])
@pytest.mark.parametrize("beside", [False, True], ids=["tokenizer.json", "tokenizer_config.json"])
@pytest.mark.parametrize("name", NO_FILES)
def test_only_a_regular_file_of_json_is_read(
    name: str, beside: bool, load: Callable[[str], Any], tmp_path: Path
) -> None:
    """Of both files of a folder; a pipe would wait forever."""
    make, said = NO_FILES[name]
    if beside:
        (tmp_path / "tokenizer.json").write_text(base())
        if name in ("nothing in it", "a link into nothing"):
            pytest.skip("as good as none")
    if name == "a link into nothing":  # so it may be a folder of a tokenizer that only transformers knows
        pytest.importorskip("transformers")
    make(tmp_path / ("tokenizer_config.json" if beside else "tokenizer.json"))
    with pytest.raises(Exception, match=said) as caught:
        load(str(tmp_path))
    assert "\n" not in str(caught.value)


def test_common_tokenizers_are_far_from_the_limits(tmp_path: Path) -> None:
    """The most that is usual: compatibility form and a few rules behind it."""
    for make in ALL.values():
        assert unfolded(json.loads(make().to_str())) <= 40
    usual = json.loads(base())
    rules = [replace(" {2,}", " ", "Regex"), replace("``", '"'), replace(" ", "\u2581")]
    usual["normalizer"] = sequence({"type": "NFKC"}, {"type": "Prepend", "prepend": "\u2581"}, *rules)
    (tmp_path / "tokenizer.json").write_text(json.dumps(usual))
    load_tokenizer(str(tmp_path))
    assert load_tokenizer(save(byte_level(), tmp_path / "plain")).end == 0
