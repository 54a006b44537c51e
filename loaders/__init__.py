"""Token batches for training: from a built corpus, or straight from a task.

    stream = ostraca.open_stream("corpora/depo1", batch_size=8, length=2048)
    for batch in stream: ...          # input_ids, labels, position_ids: int64 [8, 2048]

Importable without torch, Ray, Hydra and transformers; what reads corpora is loaded with `CorpusSource`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .mixture import Mixture
from .source import Blocks, Rows, Source
from .stream import TokenStream
from .task import TaskSource

if TYPE_CHECKING:
    from .corpus import CorpusSource
    from .open import open_stream

__all__ = ["Blocks", "CorpusSource", "Mixture", "Rows", "Source", "TaskSource", "TokenStream", "open_stream"]


def __getattr__(name: str) -> Any:
    if name == "CorpusSource":
        from .corpus import CorpusSource

        return CorpusSource
    if name == "open_stream":
        from .open import open_stream

        return open_stream
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
