"""Tokenizers of Hugging Face's: loaded without running code of theirs, and held to a digest.

A tokenizer is used through the `tokenizers` library, whose `tokenizer.json` says all that decides the ids.
Loading from a file or folder never imports transformers; nothing is ever downloaded.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ConfigError, OstracaError, shown
from .outside import parse_json
from .paths import local_path
from .rng import canonical_json
from .tokenizer_file import check_parts, check_vocabulary, read_regular

if TYPE_CHECKING:
    import tokenizers

FILES = ("tokenizer.json", "tokenizer_config.json")
# Where no tokenizer_config.json says which token ends a text: the first of these that there is.
_ENDS = ("<|endoftext|>", "<|end_of_text|>", "</s>", "<eos>", "<|im_end|>", "[SEP]")


@dataclass(frozen=True, kw_only=True, eq=False)
class Loaded:
    """A tokenizer that is ready for use."""

    name: str  # for messages
    backend: tokenizers.Tokenizer  # truncation and padding off
    serialised: str  # its tokenizer.json
    end: int | None  # the id of its end-of-text token
    sha256: str  # of all that decides the ids

    @property
    def parts(self) -> dict[str, Any]:
        """The components, as tokenizer.json has them."""
        parts: dict[str, Any] = json.loads(self.serialised)
        return parts

    def encode(self, text: str) -> tokenizers.Encoding:
        """The tokens of a text, without special ones; ConfigError where the tokenizer cannot."""
        try:
            return self.backend.encode(text, add_special_tokens=False)
        except BaseException as error:
            if not _is_the_librarys(error):
                raise
            raise ConfigError(
                f"{self.name} cannot encode {shown(text)} ({_first_line(error)}); pass a tokenizer "
                "that knows every character, or one with an unknown token"
            ) from None


def load_tokenizer(name_or_path: str) -> Loaded:
    """The tokenizer in a folder or file, or a name in Hugging Face's cache; UnusableError says why not."""
    path = local_path(name_or_path)
    if path.is_dir():
        if not (path / "tokenizer.json").exists():
            return _from_transformers(str(path))
        path = path / "tokenizer.json"
    if path.exists():
        facts = path.stat()
        return _from_file(str(path), facts.st_mtime_ns, facts.st_size)
    if name_or_path.startswith(("/", ".", "~")) or name_or_path.endswith(".json"):
        raise UnusableError(name_or_path, "there is no such file or folder")
    return _from_transformers(name_or_path)


class UnusableError(ConfigError):
    """A tokenizer that cannot be used, and why."""

    def __init__(self, name: str, why: str) -> None:
        self.name, self.why = name, why
        super().__init__(f"tokenizer {shown(name)}: {why}; pass a folder with a tokenizer.json")


@lru_cache(maxsize=8)
def _from_file(path: str, modified: int, size: int) -> Loaded:
    """modified and size only tell one state of the file from another."""
    import tokenizers

    beside = Path(path).with_name("tokenizer_config.json")
    try:
        text = read_regular(Path(path))
        check_parts(parse_json(Path(path).name, text, each_once=False))
        backend = tokenizers.Tokenizer.from_str(text)
        about = {}
        if beside.exists():
            about = parse_json(beside.name, read_regular(beside), each_once=False)
    except BaseException as error:  # OstracaError, or what the library raises of a wrong file
        if not _is_the_librarys(error):
            raise
        raise UnusableError(path, f"cannot be loaded ({_first_line(error)})") from None
    said = about.get("eos_token")
    if isinstance(said, Mapping):
        said = said.get("content")
    end = None
    # An eos_token of null says that there is none; only where nothing is said is it guessed.
    for token in (said,) if isinstance(said, str) else () if "eos_token" in about else _ENDS:
        end = backend.token_to_id(token) if end is None else end
    return _ready(path, backend, text, end)


def _is_the_librarys(error: BaseException) -> bool:
    """Whether this says that a tokenizer cannot be used. A panic of the library is not an Exception."""
    return isinstance(error, Exception) or type(error).__name__ == "PanicException"


@lru_cache(maxsize=8)
def _from_transformers(name: str) -> Loaded:
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(name, local_files_only=True, trust_remote_code=False)
    except BaseException as error:  # whatever its many back ends raise
        if not _is_the_librarys(error):
            raise
        if wants_code(error):
            raise UnusableError(name, "has code of its own (auto_map), which ostraca never runs") from None
        raise UnusableError(name, f"cannot be loaded without the network ({_first_line(error)})") from None
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        raise UnusableError(name, "is a slow tokenizer, written in Python, that has no tokenizer.json")
    return _ready(name, backend, backend.to_str(), tokenizer.eos_token_id)


def wants_code(error: BaseException) -> bool:
    """Whether transformers refused a folder because loading it would run code that lies in it."""
    return "trust_remote_code" in str(error)


def _ready(name: str, backend: tokenizers.Tokenizer, serialised: str, end: int | None) -> Loaded:
    parts = {**json.loads(serialised), "truncation": None, "padding": None}
    try:
        check_parts(parts)
        check_vocabulary(backend.get_vocab(with_added_tokens=True))
    except OstracaError as error:
        raise UnusableError(name, str(error)) from None
    model = parts.get("model") or {}
    for key in ("dropout", "alpha", "nbest_size"):
        if model.get(key):
            raise UnusableError(
                name,
                f"draws its tokens at random (model.{key}={shown(model[key])}), so no corpus of it is fixed",
            )
    backend.no_truncation()
    backend.no_padding()
    digest = hashlib.sha256(canonical_json([parts, end]).encode()).hexdigest()
    return Loaded(
        name=f"tokenizer {name}",
        backend=backend,
        serialised=json.dumps(parts, ensure_ascii=False),
        end=end,
        sha256=digest,
    )


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def read_back(loaded: Loaded, ids: Sequence[int]) -> str:
    """The text of ids, all of them in the vocabulary."""
    if loaded.backend.decoder is None:
        return "".join(loaded.backend.id_to_token(token) or "" for token in ids)
    text: str = loaded.backend.decode(ids, skip_special_tokens=False)
    return text
