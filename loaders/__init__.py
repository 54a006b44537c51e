"""Token batches for training: from a built corpus, or straight from a task.

    stream = ostraca.open_stream("corpora/depo1", batch_size=8, length=2048)
    for batch in stream: ...          # input_ids, labels, position_ids: int64 [8, 2048]

Importable without torch, Ray, Hydra and transformers; what reads corpora is loaded with `CorpusSource`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from .mixture import Mixture
from .source import Blocks, Rows, Source
from .stream import TokenStream
from .task import TaskSource

if TYPE_CHECKING:
    from .corpus import CorpusSource
    from .open import open_stream, resume_stream
    from .parquet import ParquetSource

__all__ = [
    "Blocks",
    "CorpusSource",
    "Mixture",
    "ParquetSource",
    "Rows",
    "Source",
    "TaskSource",
    "TokenStream",
    "open_stream",
    "resume_stream",
]


# What needs pyarrow's readers or the manifest's code, and the module that has it.
_LATER = {
    "CorpusSource": ".corpus",
    "ParquetSource": ".parquet",
    "open_stream": ".open",
    "resume_stream": ".open",
}


def __getattr__(name: str) -> Any:
    if name in _LATER:
        return getattr(importlib.import_module(_LATER[name], __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
