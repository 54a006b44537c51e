"""`open_stream`: one call from a corpus, or its manifest, to batches; `resume_stream`: from a state alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..tasks.errors import OstracaError, shown
from .corpus import CorpusSource
from .mixture import Mixture
from .parquet import ParquetSource
from .source import Source
from .stream import TokenStream
from .task import TaskSource

_KINDS: dict[str, Any] = {"corpus": CorpusSource, "task": TaskSource, "parquet": ParquetSource}
_SETTINGS = ("batch_size", "length", "pad_id", "seed", "shuffle", "window_blocks", "lanes", "remainder")


def open_stream(
    path_or_manifest: Path | str,
    *,
    batch_size: int,
    length: int | None = None,
    split: str = "train",
    datasets: str | Sequence[str] | None = None,
    where: str | None = None,
    mode: str | None = None,
    seed: int = 0,
    epochs: int | None = None,
    source: str = "auto",
    rank: int | None = None,
    world_size: int | None = None,
    remainder: str = "drop",
    device: Any = None,
    on_corrupt: str = "error",
    cache_dir: Path | str | None = None,
    cache_bytes: int = 1 << 34,
    **settings: Any,
) -> TokenStream:
    """The batches of a corpus, by the path or URL of its folder or its manifest, which is enough.

    split, datasets, where, source, on_corrupt, cache_dir, cache_bytes: see `CorpusSource`; all else, and
    settings: see `TokenStream`. ConfigError where they do not go together.
    """
    corpus = CorpusSource(
        path_or_manifest,
        datasets=datasets,
        split=split,
        where=where,
        source=source,
        on_corrupt=on_corrupt,
        cache_dir=cache_dir,
        cache_bytes=cache_bytes,
    )
    return TokenStream(
        corpus,
        batch_size=batch_size,
        length=length,
        mode=mode,
        seed=seed,
        epochs=epochs,
        rank=rank,
        world_size=world_size,
        remainder=remainder,
        device=device,
        **settings,
    )


def resume_stream(state: Mapping[str, Any], **settings: Any) -> TokenStream:
    """The stream that a state is of, made again from the state alone, standing where it was taken.

    settings: what decides no batch (rank, world_size, epochs, threads, device, ...); see `TokenStream`.
    OstracaError where the state is none, or the data are gone or others than they were.
    """
    try:
        recipe, identity = state["source"], state["identity"]
        source = _made(recipe)
        known = {name: identity[name] for name in _SETTINGS}
        modes = [identity["mode"]] if isinstance(identity["mode"], str) else list(identity["mode"])
    except (KeyError, TypeError):
        raise OstracaError(
            f"{shown(state)} is not a stream's state; give what state_dict() returned"
        ) from None
    mode = modes[0] if len(set(modes)) == 1 else None
    stream = TokenStream(source, mode=mode, **{**known, **settings})
    stream.load_state_dict(state)
    return stream


def _made(recipe: Mapping[str, Any]) -> Source | Mixture:
    """The source that was made from what a recipe says."""
    given = dict(recipe)
    kind = given.pop("kind")
    if kind != "mixture":
        made: Source = _KINDS[kind](**given)
        return made
    parts = {}
    for name, part in given["parts"].items():
        own = dict(part)
        weight = [(int(step), float(value)) for step, value in own.pop("weight")]
        source = _made(own)
        assert not isinstance(source, Mixture)
        parts[name] = (source, weight)
    return Mixture(parts, by=given["by"])
