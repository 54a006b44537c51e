"""Token batches for training: from a built corpus, or straight from a task.

    source = loaders.CorpusSource("corpora/depo1", split="train", seed=0)
    stream = loaders.TokenStream(source, batch_size=8, length=2048)
    for batch in stream: ...          # input_ids, labels, position_ids: int64 [8, 2048]

Importable without torch, Ray, Hydra and transformers; what reads corpora is loaded with `CorpusSource`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .source import Rows, Source
from .stream import TokenStream
from .task import TaskSource

if TYPE_CHECKING:
    from .corpus import CorpusSource

__all__ = ["CorpusSource", "Rows", "Source", "TaskSource", "TokenStream"]


def __getattr__(name: str) -> Any:
    if name == "CorpusSource":
        from .corpus import CorpusSource

        return CorpusSource
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
