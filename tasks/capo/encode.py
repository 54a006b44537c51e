"""From Capo's pieces to tokens: where a tokenizer may be applied piece by piece, and where it may not.

The ids of a text are those of its pieces, one after another, exactly where the tokenizer cuts a text before
each single space whatever stands around it. Its components are read to see that it does, and what comes
out is compared with the library's own encoding of a fixed set of whole biographies that has every template
and (up to 1,000 of each) every value in it. A tokenizer that is unknown or fails is applied to whole texts.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.batch import texts
from ..core.tokenizer import Loaded, read_back
from ..core.tokenizer_file import check_texts
from ..errors import ConfigError, OstracaError, shown
from .people import EMPLOYER, PRONOUN
from .pieces import Composed, Pieces, Plan, compose, encode_pieces, plan_of, text_pieces
from .text import SENTENCES, Content
from .tokenizer import encoding_of

PREFIX = 8  # tokens at most of what a tokenizer puts before a text
_SAMPLE = (200, 1000)  # biographies, at least and at most
# Normalisers that look at no character beyond a space, nor cut or add any at a text's ends.
_LOCAL_NORMALIZERS = {"NFC", "NFD", "NFKC", "NFKD", "Lowercase", "StripAccents", "BertNormalizer", "Nmt"}
# Pre-tokenizers that cut a text before every space.
_CUTTING = {"Whitespace", "WhitespaceSplit", "BertPreTokenizer"}
# Those that cut by the kinds of neighbouring characters, if not before every space.
_LOCAL = {"Digits", "Punctuation"}
# The patterns of well-known tokenizers: all cut before a space that stands between two other characters.
_GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
_GPT2_QUOTED = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
_CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_REST = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_O200K_WORDS = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|"
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|"
)
_PATTERNS = {
    _GPT2,
    _GPT2_QUOTED,
    *(_CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|" + digits + _REST for digits in (r"\p{N}{1,3}", r"\p{N}")),
    _O200K_WORDS + r"\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
}


def why_not_composable(loaded: Loaded, plan: Plan) -> str:
    """Why a tokenizer, by its components, cannot be applied piece by piece ('' where it can)."""
    parts = loaded.parts
    for normalizer in _flat(parts.get("normalizer"), "normalizers"):
        if normalizer["type"] not in _LOCAL_NORMALIZERS:
            return f"the normalizer {normalizer['type']} is not known to work word by word"
    if not _cuts_before_spaces(_flat(parts.get("pre_tokenizer"), "pretokenizers")):
        return "its pre-tokenizer is not known to cut before every space"
    if (parts.get("model") or {}).get("type") not in ("BPE", "WordPiece", "WordLevel", "Unigram"):
        return "its model is unknown"
    # What an added token matches is cut out of a text before all else.
    written = "\n".join(plan.texts)
    if loaded.backend.normalizer is not None:
        written += "\n" + loaded.backend.normalizer.normalize_str(written)
    written = written.lower()
    for added in parts.get("added_tokens") or ():
        words = added["content"].lower().split()
        if all(word in written for word in words) and (words or added["content"] == " "):
            return f"its added token {added['content']!r} may stand in a text"
    return ""


def tokens_per_byte(loaded: Loaded, letters: Pieces) -> int:
    """No text has more tokens than this times its bytes, and PREFIX more.

    A token stands for a byte at least, of what the normalizer makes of the text.
    """
    most = 1
    for normalizer in _flat(loaded.parts.get("normalizer"), "normalizers"):
        kind = normalizer["type"]
        if kind == "Replace":  # of one byte at least
            most *= max(1, len(normalizer["content"].encode()))
        elif (
            kind not in _LOCAL_NORMALIZERS | {"Prepend", "Precompiled", "Strip"}
            or letters.elements.max() > 127
        ):
            most *= 12  # no character is more in compatibility form: U+FDFA, of 3 bytes, becomes 33
    return most


def _flat(part: Mapping[str, Any] | None, inner: str) -> list[Mapping[str, Any]]:
    """The components of a normalizer or pre-tokenizer, in order."""
    if part is None:
        return []
    if part["type"] != "Sequence":
        return [part]
    return [leaf for member in part[inner] for leaf in _flat(member, inner)]


def _cuts_before_spaces(sequence: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a sequence of pre-tokenizers does: one of them must, and those before it must not hinder."""
    for part in sequence:
        kind = part["type"]
        if (
            kind in _CUTTING
            or (kind == "ByteLevel" and part.get("use_regex", True))
            or (kind == "Metaspace" and part.get("split", True))
            or (kind == "CharDelimiterSplit" and part.get("delimiter") == " ")
            or (kind == "Split" and _is_known(part))
        ):
            return True
        if kind not in _LOCAL:
            return False
    return False


def _is_known(split: Mapping[str, Any]) -> bool:
    pattern = split["pattern"].get("Regex")
    behaviour = (split["behavior"], split.get("invert", False))
    return pattern in _PATTERNS and behaviour in (("Isolated", False), ("Removed", True), ("Isolated", True))


def token_spans(
    offsets: Sequence[tuple[int, int]], starts: NDArray[np.int32], ends: NDArray[np.int32]
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """The tokens that overlap each of some spans of characters, given each token's characters."""
    begins, stops = np.array(offsets, dtype=np.int32).reshape(-1, 2).T
    first = (stops <= starts[:, None]).sum(axis=1, dtype=np.int32)
    return first, np.maximum(first, (begins < ends[:, None]).sum(axis=1, dtype=np.int32))


def _token_pieces(plan: Plan, loaded: Loaded) -> Pieces:
    def encode(text: str, span: tuple[int, int]) -> tuple[list[int], int, int]:
        encoding = encoding_of(loaded, text)
        start, end = span
        first = sum(stop <= start for _, stop in encoding.offsets)
        past = sum(begin < end for begin, _ in encoding.offsets)
        return encoding.ids, first, max(first, past)

    pieces = encode_pieces(plan, np.int32, encode)
    for text, (first, past), row in zip(plan.texts, plan.spans, pieces.table, strict=True):
        if first < past and row[2] == row[3]:
            raise ConfigError(
                f"capo: {loaded.name} has no token at all for {shown(text[first:past])}, so it would be "
                "lost; pass a tokenizer that knows its letters, or one with an unknown token"
            )
    return pieces


@dataclass(frozen=True, kw_only=True, eq=False)
class Encoder:
    """How the texts of some pools and templates become the tokens of one tokenizer."""

    loaded: Loaded
    letters: Pieces  # as UTF-8
    tokens: Pieces | None  # as tokens, where the tokenizer may be applied piece by piece
    why_whole: str  # why not


@lru_cache(maxsize=8)
def encoder(fields: Content | None, templates: Content | None, reverse_md: bool, loaded: Loaded) -> Encoder:
    """The encoder of checked pools and templates; ConfigError where the tokenizer will not do."""
    plan = plan_of(fields, templates, reverse_md)
    try:
        check_texts(loaded.backend, loaded.parts, plan.texts)
    except OstracaError as error:
        raise ConfigError(f"capo: {loaded.name}: {error}; pass another tokenizer") from None
    letters = text_pieces(fields, templates, reverse_md)
    facts, programs = sample(plan)
    written = compose(letters, facts, programs, max_elements(letters))
    paragraphs = paragraphs_of(written)
    why = why_not_composable(loaded, plan)
    tokens = None if why else _token_pieces(plan, loaded)
    if tokens is not None:
        composed = compose(tokens, facts, programs, max_elements(tokens))
        for row, text in enumerate(paragraphs):
            expected = encoding_of(loaded, text)
            ids = composed.elements[composed.offsets[row] : composed.offsets[row + 1]].tolist()
            spans = token_spans(expected.offsets, written.char_starts[row], written.char_ends[row])
            same = (composed.starts[row] == spans[0]).all() and (composed.ends[row] == spans[1]).all()
            if ids != expected.ids or not same:
                tokens, why = None, "its pieces differ from its whole texts"
                break
    if tokens is None:
        for text in paragraphs:
            if read_back(loaded, encoding_of(loaded, text).ids) != text:
                raise ConfigError(
                    f"capo: {loaded.name} works on whole texts only ({why}), and its tokens cannot be read "
                    "back as the text, so no example could be checked; pass another tokenizer, or bio=text"
                )
    return Encoder(loaded=loaded, letters=letters, tokens=tokens, why_whole=why)


def encode_whole(
    loaded: Loaded, paragraphs: list[str], starts: NDArray[np.int32], ends: NDArray[np.int32]
) -> tuple[list[list[int]], NDArray[np.int32], NDArray[np.int32]]:
    """Whole texts by the library: each one's ids, and spans [rows, 8] of characters as spans of tokens."""
    token_starts, token_ends = np.zeros_like(starts), np.zeros_like(ends)
    ids = []
    for row, encoding in enumerate(loaded.backend.encode_batch(paragraphs, add_special_tokens=False)):
        ids.append(encoding.ids)
        token_starts[row], token_ends[row] = token_spans(encoding.offsets, starts[row], ends[row])
    return ids, token_starts, token_ends


def sample(plan: Plan) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Facts and programs of some biographies in which every template and value comes up (see `compose`)."""
    low, high = _SAMPLE
    sizes = np.diff(plan.firsts)
    rows = np.arange(min(high, max(low, int(plan.bounds.max()), int(sizes.max()))))
    # Every fact runs through its values, each from another one on.
    facts = (rows[:, None] + 7 * np.arange(len(plan.bounds))) % plan.bounds
    orders = np.array(list(itertools.permutations(range(len(sizes)))))[rows * 7 % 720]
    template = plan.firsts[orders] + (rows[:, None] + orders) % sizes[orders]
    programs = 2 * template + (np.arange(len(sizes)) > 0)
    return facts.astype(np.int32), programs.astype(np.int32)


def paragraphs_of(composed: Composed) -> list[str]:
    """The texts of composed bytes."""
    pieces: list[str] = texts(composed.elements, composed.offsets).to_pylist()
    return pieces


def mean_elements(pieces: Pieces, order: bool) -> float:
    """Expected elements of a paragraph: exactly, over all names, values and templates."""
    lengths, plan = pieces.table[:, 1].astype(np.float64), pieces.plan
    sizes = plan.bounds[plan.ops[:, 1]]
    of_op = [lengths[first : first + size].mean() for first, size in zip(plan.ops[:, 0], sizes, strict=True)]
    sums = np.concatenate([[0.0], np.cumsum(of_op)])
    of_program = sums[plan.programs[:, 1]] - sums[plan.programs[:, 0]]
    totals = np.add.reduceat(of_program.reshape(-1, 2), plan.firsts[:-1], axis=0)
    opening, later = (totals / np.diff(plan.firsts)[:, None]).T
    more = (opening - later).mean() if order else (opening - later)[0]
    return float(later.sum() + more)


def max_elements(pieces: Pieces) -> int:
    """The most elements of a paragraph, of any person there could be and in any order."""
    lengths, plan = pieces.table[:, 1].astype(np.int64), pieces.plan
    employers = plan.bounds[EMPLOYER]
    # [sentence, opens or not, pronoun, employer]: the two facts that several sentences share.
    most = np.zeros((len(SENTENCES), 2, plan.bounds[PRONOUN], employers), dtype=np.int64)
    for program, (first, past, *_) in enumerate(plan.programs):
        sentence = np.searchsorted(plan.firsts, program // 2, side="right") - 1
        total = np.zeros(most.shape[2:], dtype=np.int64)
        for base, fact in plan.ops[first:past]:
            of_value = lengths[base : base + plan.bounds[fact]]
            if fact == PRONOUN:
                total += of_value[:, None]
            elif fact == EMPLOYER:
                total += of_value
            else:
                total += of_value.max()
        np.maximum(most[sentence, program % 2], total, out=most[sentence, program % 2])
    later = most[:, 1].sum(axis=0)
    return int((later + most[:, 0] - most[:, 1]).max())
