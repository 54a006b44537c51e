"""What comes from outside: nothing but regular files is opened, and no JSON but plain objects is taken."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from ostraca.tasks.core.outside import NotRegularError, open_regular, parse_json
from ostraca.tasks.errors import OstracaError

BAD = {
    "nested deep": (b'{"a":' * 100_000, "nested too deep"),
    "nested lists": (b"[" * 100_000, "nested too deep"),
    "NaN": (b'{"a": NaN}', "NaN is not a JSON number"),
    "infinity": (b'{"a": [-Infinity]}', "-Infinity is not a JSON number"),
    "a float that is too large": (b'{"a": 1e999}', "'1e999' is not a finite number"),
    "an integer that is too long": (b'{"a": ' + b"7" * 5_000 + b"}", "thousands of digits"),
    "a key twice": (b'{"a": 1, "b": {"c": 1, "c": 2}}', "the key 'c' is there twice"),
    "no UTF-8": (b'{"a": "\xff"}', "not UTF-8 at byte 7"),
    "UTF-16": ('{"a": 1}'.encode("utf-16"), "not UTF-8 at byte 0"),
    "half a character": (b'{"a": "\\ud800"}', "half a character"),
    "half a character in a key": (b'{"\\uDFFF": 1}', "half a character"),
    "a list": (b"[{}]", "is not a JSON object"),
    "a number": (b"5", "is not a JSON object"),
    "null": (b"null", "is not a JSON object"),
    "nothing": (b"", "Expecting value"),
    "cut": (b'{"a": 1', "Expecting ',' delimiter"),
    "two": (b"{} {}", "Extra data"),
}


@pytest.mark.parametrize("name", BAD)
def test_no_other_json_is_taken(name: str) -> None:
    data, said = BAD[name]
    with pytest.raises(OstracaError) as caught:
        parse_json("x.json:", data)
    message = str(caught.value)
    assert message.startswith("x.json: is not ")
    assert said in message
    assert "\n" not in message
    assert len(message) < 200


def test_what_json_can_hold_is_taken() -> None:
    text = '{"a": [1, -2.5, 1e300, true, null, "\\ud83d\\ude00 \\\\ud800", {"a": 12345678901234567890}]}'
    value = {"a": [1, -2.5, 1e300, True, None, "\U0001f600 \\ud800", {"a": 12345678901234567890}]}
    assert parse_json("x", text) == parse_json("x", text.encode()) == value
    assert parse_json("x", '{"a": 1, "a": 2}', each_once=False) == {"a": 2}


def bound(path: Path) -> None:
    made = socket.socket(socket.AF_UNIX)
    made.bind(str(path))
    made.close()


OTHERS: dict[str, Callable[[Path], object]] = {
    "a pipe": os.mkfifo,
    "a link to a pipe": lambda path: (os.mkfifo(f"{path}-"), path.symlink_to(f"{path}-")),
    "a socket": bound,
    "a device without end": lambda path: path.symlink_to("/dev/zero"),
}


@pytest.mark.timeout(20)
@pytest.mark.parametrize("name", OTHERS)
def test_nothing_else_is_opened(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pipe would wait forever. A socket's path must be short."""
    monkeypatch.chdir(tmp_path)
    OTHERS[name](Path("x"))
    with pytest.raises(NotRegularError, match="x: is not a regular file"):
        open_regular(Path("x"))


def test_a_link_to_a_file_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"abc")
    (tmp_path / "y").symlink_to("x")
    with open_regular(tmp_path / "y") as file:
        assert file.read() == b"abc"
    with pytest.raises(IsADirectoryError):
        open_regular(tmp_path)
    with pytest.raises(FileNotFoundError):
        open_regular(tmp_path / "z")
