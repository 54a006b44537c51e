"""A byte-level BPE tokenizer made of Capo's own text."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from ..core.litter import is_empty
from ..core.paths import local_path
from ..core.tokenizer import FILES
from ..errors import ConfigError
from .tokenizer import END

# What the tokenizer that comes with the task is made with (see `train_tokenizer`).
VOCAB_SIZE, NUM_PEOPLE, SEED = 4096, 20_000, 0


def train_tokenizer(
    out: str | os.PathLike[str],
    vocab_size: int = VOCAB_SIZE,
    num_people: int = NUM_PEOPLE,
    seed: int = SEED,
    fields_dir: str | None = None,
    templates_dir: str | None = None,
) -> Path:
    """Make a byte-level BPE tokenizer of Capo's text, a pure function of the arguments, in the folder `out`.

    It learns from one biography of each of `num_people` people, and has the special token <|endoftext|>.
    `AutoTokenizer.from_pretrained(out)` loads it. ConfigError where `out` exists and is not empty.
    """
    import tokenizers
    from tokenizers import decoders, models, pre_tokenizers, trainers

    from ..examples import complete_config, generate_batches
    from . import TASK

    folder = local_path(out)
    if folder.exists() and not is_empty(folder):
        raise ConfigError(f"out={folder} exists already; choose a new folder, or remove that one first")
    dirs = {"fields_dir": fields_dir, "templates_dir": templates_dir}
    given = {"num_people": num_people, "exposures": 1, "bio": "text", **dirs}
    config = complete_config(TASK, given, seed)

    def texts() -> Iterator[str]:
        for batch in generate_batches(TASK, config, seed, "tokenizer", 0, num_people):
            yield from batch.column("text").to_pylist()

    tokenizer = tokenizers.Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[END],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts(), trainer=trainer)
    about = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": END,
        "clean_up_tokenization_spaces": False,
    }
    folder.mkdir(parents=True, exist_ok=True)
    # tokenizer.json comes last: where it stands, the folder is whole.
    _write(folder / FILES[1], json.dumps(about, indent=1) + "\n")
    _write(folder / FILES[0], tokenizer.to_str(pretty=True) + "\n")
    return folder


def _write(path: Path, text: str) -> None:
    """Write a file under another name first, so that it is never seen half written."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
