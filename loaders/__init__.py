"""Token batches for training: from a built corpus, or straight from a task.

    source = loaders.CorpusSource("corpora/depo1", split="train", seed=0)
    stream = loaders.TokenStream(source, batch_size=8, length=2048)
    for batch in stream: ...          # input_ids, labels, position_ids: int64 [8, 2048]

Importable without torch, Ray, Hydra and transformers.
"""

from .corpus import CorpusSource
from .source import Rows, Source
from .stream import TokenStream
from .task import TaskSource

__all__ = ["CorpusSource", "Rows", "Source", "TaskSource", "TokenStream"]
