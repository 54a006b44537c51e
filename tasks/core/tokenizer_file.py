"""What a tokenizer.json must be before it is used: a regular file of a bounded size, whose parts keep a text
at a bounded size.

The library allocates whatever the parts ask for, and where that is too much it ends the process. So how much
each part can make of one character is taken from the JSON first, without running any.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import OstracaError, shown
from .outside import NotRegularError, open_regular

if TYPE_CHECKING:
    import tokenizers

MOST_BYTES = 128 << 20  # of a tokenizer.json: the largest published ones have 40 MB
MOST_UNFOLDED = 1_000  # characters that a tokenizer's parts may be able to make of one
MOST_MADE = 64  # and that they do make of one, in the texts there are
MOST_WRITTEN = 64  # characters that its decoder may be able to make of one
_MOST_ADDED = 10**7  # characters that its parts may make of all added tokens, when it is loaded
_LONGEST = 1 << 16  # characters of a token, or of what a model puts before or after one
_MOST_ID = 2**31 - 1
# Characters at most of one; U+FDFA is 18 in compatibility form, U+1F82 4 in canonical, a byte is a character
# of two to ByteLevel. Bert's parts all accents and puts a space on both sides.
_FACTORS = {"NFC": 3, "NFD": 4, "NFKC": 18, "NFKD": 18, "Lowercase": 3, "BertNormalizer": 12, "ByteLevel": 4}
_FIXES = ("continuing_subword_prefix", "end_of_word_suffix", "unk_token", "prefix", "suffix")


def read_regular(path: Path, most: int = MOST_BYTES) -> str:
    """The text of a regular file of at most `most` bytes; OstracaError says why not."""
    try:
        with open_regular(path) as file:
            content = file.read(most + 1)
    except NotRegularError:
        raise OstracaError(f"{path.name} is not a regular file") from None
    except OSError as error:
        raise OstracaError(f"{path.name} cannot be read ({error.strerror})") from None
    if len(content) > most:
        raise OstracaError(f"{path.name} has over {most >> 20} MiB")
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise OstracaError(f"{path.name} is not UTF-8") from None


def check_parts(parts: Mapping[str, Any]) -> None:
    """OstracaError where the parts of a tokenizer.json can make too much of a text. Runs none of them."""
    try:
        factor = unfolded(parts)
        written = math.prod(map(_factor, _flat(parts.get("decoder"), "decoders")))
        added = [str(token["content"]) for token in parts.get("added_tokens") or ()]
        fixes = [value for value in map((parts.get("model") or {}).get, _FIXES) if isinstance(value, str)]
        fixes += [value for part in _flat(parts.get("decoder"), "decoders") for value in _texts(part)]
    except (KeyError, TypeError, AttributeError, ValueError, RecursionError) as error:
        raise OstracaError(f"its parts are not as the library writes them ({shown(str(error))})") from None
    if factor > MOST_UNFOLDED:
        raise OstracaError(
            f"its normalizer and pre-tokenizer can make {_count(factor)} characters of one; at most "
            f"{MOST_UNFOLDED:,} are allowed"
        )
    if written > MOST_WRITTEN:
        raise OstracaError(
            f"its decoder can make {_count(written)} characters of one; at most {MOST_WRITTEN} are allowed"
        )
    if factor * sum(map(len, added)) > _MOST_ADDED:
        raise OstracaError(f"its normalizer can make over {_MOST_ADDED:,} characters of its added tokens")
    if max(map(len, [*added, *fixes]), default=0) > _LONGEST:
        raise OstracaError(f"a token in it has over {_LONGEST:,} characters")


def check_vocabulary(vocabulary: Mapping[str, int]) -> None:
    """OstracaError where there is no token, one that is far too long, or an id that is no int32."""
    if not vocabulary:
        raise OstracaError("it has no tokens")
    if max(map(len, vocabulary)) > _LONGEST:
        raise OstracaError(f"a token in it has over {_LONGEST:,} characters")
    if max(vocabulary.values()) > _MOST_ID:
        raise OstracaError(f"it has ids over {_MOST_ID}, the largest there can be")


def check_texts(backend: tokenizers.Tokenizer, parts: Mapping[str, Any], texts: list[str]) -> None:
    """OstracaError where a tokenizer makes far too much of texts; they are looked at one at a time."""
    if unfolded(parts) <= MOST_MADE:
        return
    for text in texts:
        normalized = text if backend.normalizer is None else backend.normalizer.normalize_str(text)
        size = len(normalized)
        if backend.pre_tokenizer is not None:
            size = sum(len(word) for word, _ in backend.pre_tokenizer.pre_tokenize_str(normalized))
        if size > MOST_MADE * (len(text) + 1):
            raise OstracaError(
                f"its normalizer and pre-tokenizer make {size:,} characters of {shown(text)}; at most "
                f"{MOST_MADE} of one are allowed"
            )


def unfolded(parts: Mapping[str, Any]) -> int:
    """How many characters the normalizer and the pre-tokenizer can make of one, at most."""
    normalizers = _flat(parts.get("normalizer"), "normalizers")
    pre_tokenizers = _flat(parts.get("pre_tokenizer"), "pretokenizers")
    return math.prod(_factor(part) for parts_of in (normalizers, pre_tokenizers) for part in parts_of)


def _factor(part: Mapping[str, Any]) -> int:
    """How many characters a part can make of one, at most."""
    special: Callable[[Mapping[str, Any]], int] | None = _OWN.get(part["type"])
    return _FACTORS.get(part["type"], 1) if special is None else special(part)


def _of_replace(part: Mapping[str, Any]) -> int:
    pattern, content = part["pattern"], str(part["content"])
    fixed = pattern.get("String")
    if fixed:
        return max(1, -(-len(content) // len(fixed)))
    return 1 + len(content)  # an expression can match nothing, before each character


def _of_charsmap(part: Mapping[str, Any]) -> int:
    """SentencePiece's table: the trie's size, the trie, and what it leads to, ended by zero bytes."""
    table = base64.b64decode(part["precompiled_charsmap"] or "")
    start = 4 + int.from_bytes(table[:4], "little")
    return max([1, *(len(line.decode(errors="replace")) for line in table[start:].split(b"\0"))])


_OWN: dict[str, Callable[[Mapping[str, Any]], int]] = {
    "Replace": _of_replace,
    "Prepend": lambda part: 1 + len(str(part["prepend"])),
    "Precompiled": _of_charsmap,
}


def _flat(part: Mapping[str, Any] | None, inner: str) -> Iterator[Mapping[str, Any]]:
    """The components of a part, in order."""
    if part is not None and part["type"] == "Sequence":
        for member in part[inner]:
            yield from _flat(member, inner)
    elif part is not None:
        yield part


def _texts(part: Mapping[str, Any]) -> Iterator[str]:
    return (value for key in _FIXES if isinstance(value := part.get(key), str))


def _count(number: int) -> str:
    return f"{number:,}" if number < 10**12 else "over 10^12"
