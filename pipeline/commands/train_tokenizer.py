"""`ostraca train-tokenizer`: a small tokenizer of Capo's text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...tasks.capo.tokenizer import load_tokenizer
from ...tasks.capo.train_tokenizer import train_tokenizer
from ...tasks.errors import check_integer, check_path


def run(config: Mapping[str, Any]) -> int:
    """See conf/train-tokenizer.yaml."""
    folder = check_path("out", config["out"])
    # 256 bytes and the end-of-text token are the least.
    vocab_size = check_integer("vocab_size", config["vocab_size"], 257, 10**6)
    num_people = check_integer("num_people", config["num_people"], 1, 10**7)
    seed = check_integer("seed", config["seed"], 0)
    dirs = [
        None if config[key] is None else check_path(key, config[key])
        for key in ("fields_dir", "templates_dir")
    ]
    digest = train_tokenizer(folder, vocab_size, num_people, seed, *dirs)
    loaded = load_tokenizer(str(digest))
    print(f"{digest}: {loaded.backend.get_vocab_size():,} tokens, of {num_people:,} biographies, seed {seed}")
    print(f"use it with tokenizer_name_or_path={digest} (sha256 {loaded.sha256})")
    return 0
