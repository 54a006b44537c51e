"""Small tokenizers of every common kind, trained on Capo's own text, as folders that a config can name."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors, trainers

from ostraca.tasks.capo import TASK
from ostraca.tasks.capo.generate import generate
from ostraca.tasks.examples import complete_config, stream_of

# The pattern of Llama 3's tokenizer (tiktoken's cl100k with a change): a published fact.
LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|"
    r"\s+(?!\S)|\s+"
)
END = "<|endoftext|>"


@lru_cache(maxsize=1)
def corpus() -> tuple[str, ...]:
    """600 biographies to train on, of another seed than any that a test encodes."""
    config = complete_config(TASK, {"bio": "text"}, 99)
    batch = generate(config, stream_of(TASK, config, 99, "train"), np.arange(600, dtype=np.int64))
    return tuple(batch.column("text").to_pylist())


def _trained(tokenizer: tokenizers.Tokenizer, trainer: Any) -> tokenizers.Tokenizer:
    tokenizer.train_from_iterator(corpus(), trainer=trainer)
    return tokenizer


def _bpe_trainer(**more: Any) -> Any:
    return trainers.BpeTrainer(vocab_size=900, special_tokens=[END], show_progress=False, **more)


def byte_level(prefix_space: bool = False, trim: bool = True) -> tokenizers.Tokenizer:
    """GPT-2's kind."""
    made = tokenizers.Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=prefix_space)
    made.post_processor = processors.ByteLevel(trim_offsets=trim)
    made.decoder = decoders.ByteLevel()
    return _trained(made, _bpe_trainer(initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))


def llama3() -> tokenizers.Tokenizer:
    """Llama 3's kind: numbers in groups of three, a token for a single space before them."""
    made = tokenizers.Tokenizer(models.BPE(ignore_merges=True))
    split = pre_tokenizers.Split(tokenizers.Regex(LLAMA3), behavior="isolated")
    bytes_only = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    made.pre_tokenizer = pre_tokenizers.Sequence([split, bytes_only])
    made.decoder = decoders.ByteLevel()
    return _trained(made, _bpe_trainer(initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))


def word_piece(pre_tokenizer: Any = None) -> tokenizers.Tokenizer:
    """BERT's kind: lower case, no accents, unknown words."""
    made = tokenizers.Tokenizer(models.WordPiece(unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer(lowercase=True, strip_accents=True)
    made.pre_tokenizer = pre_tokenizer or pre_tokenizers.BertPreTokenizer()
    made.decoder = decoders.WordPiece()
    specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    trainer = trainers.WordPieceTrainer(vocab_size=700, special_tokens=specials, show_progress=False)
    made = _trained(made, trainer)
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return made


def unigram(scheme: str = "always") -> tokenizers.Tokenizer:
    """SentencePiece's kind."""
    made = tokenizers.Tokenizer(models.Unigram())
    made.normalizer = normalizers.NFKC()
    made.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme)
    made.decoder = decoders.Metaspace(prepend_scheme=scheme)
    trainer = trainers.UnigramTrainer(
        vocab_size=700, special_tokens=["<unk>", "</s>"], unk_token="<unk>", show_progress=False
    )
    return _trained(made, trainer)


def whole() -> tokenizers.Tokenizer:
    """No pre-tokenizer: merges go over spaces, so the ids of a piece depend on what stands around it."""
    made = tokenizers.Tokenizer(models.BPE())
    made.decoder = decoders.Fuse()
    return _trained(made, _bpe_trainer(max_token_length=12))


def cached(make: Callable[[], tokenizers.Tokenizer]) -> Callable[[], tokenizers.Tokenizer]:
    """Trained once; a copy at each call."""
    text = lru_cache(maxsize=1)(lambda: make().to_str())
    return lambda: tokenizers.Tokenizer.from_str(text())


_COMPOSABLE: dict[str, Callable[[], tokenizers.Tokenizer]] = {
    "byte-level BPE": byte_level,
    "byte-level BPE with a space in front": lambda: byte_level(prefix_space=True, trim=False),
    "llama 3": llama3,
    "WordPiece": word_piece,
    "WordPiece of words": lambda: word_piece(pre_tokenizers.Whitespace()),
    "WordPiece, digits apart": lambda: word_piece(
        pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.Whitespace()])
    ),
    "Unigram": unigram,
    "Unigram, first only": lambda: unigram("first"),
    "Unigram, never": lambda: unigram("never"),
}
COMPOSABLE = {name: cached(make) for name, make in _COMPOSABLE.items()}
LOSSY = {name for name in COMPOSABLE if name.startswith("WordPiece")}
ALL = {**COMPOSABLE, "whole texts": cached(whole)}


def save(tokenizer: tokenizers.Tokenizer, folder: Path, end: str | None = None) -> str:
    """Write a folder with the tokenizer; `end` is named in a tokenizer_config.json."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tokenizer.json").write_text(tokenizer.to_str())
    if end is not None:
        (folder / "tokenizer_config.json").write_text(json.dumps({"eos_token": end}))
    return str(folder)
