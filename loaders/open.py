"""`open_stream`: one call from a corpus, or its manifest, to batches."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .corpus import CorpusSource
from .stream import TokenStream


def open_stream(
    path_or_manifest: Path | str,
    *,
    batch_size: int,
    length: int | None = None,
    split: str = "train",
    datasets: str | Sequence[str] | None = None,
    where: str | None = None,
    **settings: Any,
) -> TokenStream:
    """The batches of a corpus: `TokenStream(CorpusSource(...), ...)`."""
    source = CorpusSource(path_or_manifest, datasets=datasets, split=split, where=where)
    return TokenStream(source, batch_size=batch_size, length=length, **settings)
