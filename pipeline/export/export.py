"""`ostraca export`: a built corpus, or a part of it, in another format."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...tasks.core.litter import is_empty
from ...tasks.core.paths import local_path
from ...tasks.errors import ConfigError, nearest, shown
from ...tasks.examples import check_split
from ...tasks.vocabulary import corpus_vocab_size, offset_of
from ..corpus.fingerprint import ContentDigest
from ..corpus.manifest import read_manifest, spec_in
from ..corpus.manifest_checks import require_records
from ..corpus.progress import Progress, Silent
from ..corpus.reader import SplitReader, split_reader
from ..corpus.split import Split
from ..store.atomic import plain_errors
from ..store.folder import Folder, json_bytes
from ..store.open import open_folder
from . import ALIASES, FORMATS
from .base import Dataset, ExportedSplit, Files

NAME = "export.json"
FORMAT_VERSION = 1


def export(
    path: Path | str,
    to: str,
    out: Path | str,
    dataset: str | None = None,
    split: str | None = None,
    progress: type[Progress] = Silent,
) -> dict[str, Any]:
    """Write rows of the corpus in `path` to the folder `out` in the format `to`; what export.json then says.

    dataset, split: None is each. OstracaError where there is no such thing, where the format cannot hold it
    or where a file cannot be read or written; `out` is then as it was.
    """
    to = ALIASES.get(to, to) if isinstance(to, str) else to
    if not isinstance(to, str) or to not in FORMATS:
        raise ConfigError(f"to={shown(to)}{nearest(to, FORMATS)} must be one of {', '.join(FORMATS)}")
    module = importlib.import_module(FORMATS[to])
    root, folder = open_folder(path), local_path(out)
    manifest = read_manifest(root)
    require_records(root, manifest)
    spec = spec_in(root, manifest)
    readers = {
        name: [split_reader(root, manifest, Split.of(spec, name, split_name)) for split_name in splits]
        for name, splits in _choose(root, spec, dataset, split).items()
    }
    records = [
        record for readers_of in readers.values() for reader in readers_of for record in reader.records
    ]
    with plain_errors(folder):
        if folder.exists() and not is_empty(folder):
            raise ConfigError(f"out={out}: must be a new or an empty folder; remove it or choose another")
    bar = progress(
        f"export {spec['name']}",
        len(records),
        sum(record["rows"] for record in records),
    )

    def on_shard(record: Mapping[str, Any]) -> None:
        bar.advance(record["rows"], record["tokens"])

    # All is checked before the first byte is written.
    datasets = [_dataset(to, module, of_dataset, on_shard) for of_dataset in readers.values()]
    files = Files(root=folder)
    try:
        files.make_folder(folder)
        with bar:
            for exported in datasets:
                module.write(exported, files)
        summary = _summary(manifest, to, module.NOT_CARRIED, datasets, list(files.written))
        with files.create(NAME) as file:
            file.write(json_bytes(summary))
    except BaseException:
        files.remove_all()
        raise
    return summary


def _choose(root: Folder, spec: Mapping[str, Any], dataset: Any, split: Any) -> dict[str, list[str]]:
    """Dataset -> its splits, of those that are meant; ConfigError where there is none."""
    known = spec["datasets"]
    if dataset is not None and (not isinstance(dataset, (str, int)) or str(dataset) not in known):
        raise ConfigError(f"dataset={shown(dataset)}{nearest(dataset, known)}: {root} has {', '.join(known)}")
    asked = list(known) if dataset is None else [str(dataset)]
    if split is None:
        return {name: list(known[name]["splits"]) for name in asked}
    check_split(split)
    chosen = {name: [split] for name in asked if split in known[name]["splits"]}
    if not chosen:
        splits = sorted({name_of_split for name in asked for name_of_split in known[name]["splits"]})
        raise ConfigError(
            f"split={split}{nearest(split, splits)}: {', '.join(asked)} has {', '.join(splits)}"
        )
    return chosen


def _dataset(
    to: str, module: Any, readers: Sequence[SplitReader], on_shard: Callable[[Mapping[str, Any]], None]
) -> Dataset:
    """Splits of a dataset for the format `to`; ConfigError where the format cannot hold them."""
    spec, name = readers[0].split.spec, readers[0].split.dataset
    texts = [reader.split.name for reader in readers if reader.split.of_texts]
    if texts and not module.TEXTS:
        able = [form for form in FORMATS if importlib.import_module(FORMATS[form]).TEXTS]
        raise ConfigError(
            f"to={to}: {name}/{min(texts)} holds texts, and {to} takes tokens only; "
            f"set to={' or to='.join(able)}, choose another dataset or split, or build it with bio=tokens"
        )
    vocab_size = None if len(texts) == len(readers) else corpus_vocab_size(spec, [name])
    dtype = None if vocab_size is None else _dtype(spec, name, vocab_size, to, module.DTYPES)
    parts = [
        ExportedSplit(
            reader=reader,
            dtype=None if reader.split.of_texts else dtype,
            vocab_size=None if reader.split.of_texts else vocab_size,
            on_shard=on_shard,
        )
        for reader in readers
    ]

    def names() -> dict[int, str]:
        called: dict[int, str] = {}
        for split in spec["datasets"][name]["splits"]:
            called |= Split.of(spec, name, split).token_names()
        return called

    return Dataset(name=name, parts=parts, dtype=dtype, vocab_size=vocab_size, names=names)


def _dtype(
    spec: Mapping[str, Any], name: str, vocab_size: int, to: str, known: tuple[str, ...]
) -> np.dtype[Any] | None:
    """The format's smallest dtype that holds all ids below `vocab_size`; ConfigError where none does."""
    if not known:
        return None
    for dtype in known:
        if vocab_size - 1 <= np.iinfo(dtype).max:
            return np.dtype(dtype).newbyteorder("<")
    advice = "" if spec["vocabulary"] == "shared" else "build the corpus with vocabulary=shared, or "
    if offset_of(spec):
        advice = f"build the corpus with less than vocabulary.offset={offset_of(spec)}, or "
    dtypes = {other: importlib.import_module(FORMATS[other]).DTYPES for other in FORMATS}
    able = [other for other in FORMATS if dtypes[other][-1:] != ("uint16",)]
    raise ConfigError(
        f"to={to}: {name} has ids up to {vocab_size - 1:,}, and {to} holds none over "
        f"{np.iinfo(known[-1]).max:,}; {advice}choose another format ({', '.join(able)})"
    )


def _summary(
    manifest: Mapping[str, Any],
    to: str,
    not_carried: str,
    datasets: list[Dataset],
    files: list[dict[str, Any]],
) -> dict[str, Any]:
    """What export.json says: from which corpus, what, how, and every file. The same for the same corpus."""
    entries: dict[str, Any] = {}
    rows = tokens = 0
    rows_are = "documents" if manifest["spec"]["pack"] is None else "packed_rows"
    for dataset in datasets:
        splits: dict[str, Any] = {}
        for part in dataset.parts:
            unit = "text_bytes" if part.vocab_size is None else "tokens"
            digests = (ContentDigest.parse(record["content_digest"]) for record in part.records)
            splits[part.split] = {
                rows_are: part.row_count,
                unit: part.tokens,
                "content_digest": str(sum(digests, ContentDigest())),
            }
            rows += part.row_count
            tokens += part.tokens if unit == "tokens" else 0
        entries[dataset.name] = {
            "dtype": None if dataset.dtype is None else dataset.dtype.name,
            "vocab_size": dataset.vocab_size,
            "splits": splits,
        }
    return {
        "format_version": FORMAT_VERSION,
        "format": to,
        "corpus": manifest["name"],
        "spec_digest": manifest["spec_digest"],
        "content_digest": manifest["content_digest"],
        "vocabulary": manifest["spec"]["vocabulary"],
        **({"vocabulary_offset": offset} if (offset := offset_of(manifest["spec"])) else {}),
        rows_are: rows,
        "tokens": tokens,
        "not_carried": not_carried,
        "datasets": entries,
        "files": files,
    }
