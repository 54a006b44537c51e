"""`README.md` of a corpus: a dataset card, with which `datasets.load_dataset` reads the folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

import pyarrow as pa

from ...tasks import get_task
from ...tasks.errors import shown
from ...tasks.registry import HOUSE
from ...tasks.vocabulary import TOKENIZER_FILES, corpus_vocab_size, offset_of, tokenizer_folder
from ..corpus.split import SplitId
from ..corpus.split_statistics import Counts
from ..spec.presets import aliases, likeness
from .columns import about_task, columns_of, paper_of, sources
from .figures import (
    cells_of,
    dedup_mode,
    figures_of,
    keys_of,
    of_texts,
    read_by_datasets,
    shards_of,
    told_mode,
    total,
    usage,
)
from .pictures import MIXTURE, picture_of
from .render import render

_SIZES = ("1K", "10K", "100K", "1M", "10M", "100M", "1B", "10B", "100B", "1T")
_MOST_CHARACTERS = 120  # of a key and its value


def make_card(
    manifest: Mapping[str, Any],
    statistics: Mapping[SplitId, Counts],
    samples: Mapping[SplitId, pa.RecordBatch],
    drawn: Sequence[str],
) -> str:
    """The whole card; drawn: the paths of the pictures that there are."""
    spec, figures = manifest["spec"], figures_of(manifest, statistics)
    every, told = total(figures.values()), told_mode(manifest, figures)
    table = []
    for (dataset, split), row in figures.items():
        cells = cells_of(row, told, bool(spec.get("pack")))
        del cells["shards"], cells["bytes / token"]
        table.append({"dataset": dataset, "split": split, **cells})
    first, shared = next(iter(spec["datasets"])), spec["vocabulary"] == "shared"
    named = [name for name in spec["datasets"] if not of_texts(manifest, name)]
    shorter = short_names(list(dict.fromkeys(dataset for dataset, _ in figures)))
    return render(
        "card.md.j2",
        manifest=manifest,
        spec=spec,
        every=every,
        table=table,
        size=size_category(every.examples),
        readable=read_by_datasets(manifest),
        configs=_configs(manifest, shorter),
        default=next(iter(shorter), None) if len(spec["datasets"]) == 1 else None,  # of two names for one
        paper=paper_of(manifest["tasks"]),
        drawn=drawn,
        mixture=MIXTURE,
        python=usage(manifest, "PATH"),
        labels=first in named and spec["format"] == "parquet",
        tokenizer=_tokenizer(manifest, first),
        offset=offset_of(spec),
        raised=[name for name in named if offset_of(spec) and _has_own_tokenizer(spec, name)],
        datasets=[_dataset(manifest, name, samples) for name in spec["datasets"]],
        sizes={name: corpus_vocab_size(spec, [name]) for name in named},
        shared_size=corpus_vocab_size(spec, named) if shared and named else None,
        dedup=dedup_mode(manifest),
        rule={"key": None, "against": None, **(spec.get("dedup") or {})},
        sources=sources(manifest["tasks"], "*"),
    )


def _has_own_tokenizer(spec: Mapping[str, Any], dataset: str) -> bool:
    return get_task(spec["datasets"][dataset]["task"]).tokenizer is not None


def _tokenizer(manifest: Mapping[str, Any], dataset: str) -> str | None:
    """Where below the corpus the tokenizer lies whose ids are those in a dataset's rows; None: nowhere."""
    spec = manifest["spec"]
    if offset_of(spec) and _has_own_tokenizer(spec, dataset):
        return None
    whole = spec["vocabulary"] == "shared" and TOKENIZER_FILES[0] in {f["path"] for f in manifest["files"]}
    return "" if whole else f"/{tokenizer_folder(dataset)}"


def size_category(examples: int) -> str:
    """The hub's word for a number of examples."""
    for power, name in enumerate(_SIZES, 3):
        if examples < 10**power:
            return f"n<{name}" if power == 3 else f"{_SIZES[power - 4]}<n<{name}"
    return "n>1T"


def short_names(datasets: Sequence[str]) -> dict[str, str]:
    """depo1 of depo1-225, by which it was built: what a preset is called for short, if nothing else is."""
    # Of depo and depo1 the latter: a task's bare name is the last resort.
    names = sorted(aliases().items(), key=lambda pair: pair[0] not in HOUSE)
    shorter = {target: name for name, target in names}
    return {name: shorter[name] for name in datasets if name in shorter and shorter[name] not in datasets}


def pattern(manifest: Mapping[str, Any], key: SplitId) -> str:
    """A glob of a split's shards: depo/train-*.parquet."""
    name = PurePosixPath(shards_of(manifest, key)[0]["path"]).name
    return f"{key[0]}/{key[1]}-*.{name.partition('.')[2]}"


def _configs(manifest: Mapping[str, Any], shorter: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """Name -> split -> its files, for a dataset by its name and by the one for short."""
    configs: dict[str, dict[str, str]] = {}
    for dataset, split in keys_of(manifest):
        for name in (dataset, shorter.get(dataset, dataset)):
            configs.setdefault(name, {})[split] = pattern(manifest, (dataset, split))
    return configs


def _dataset(
    manifest: Mapping[str, Any], dataset: str, samples: Mapping[SplitId, pa.RecordBatch]
) -> dict[str, Any]:
    """What the card says of one, and which published preset it is (`near`) or where it differs (`but`)."""
    spec = manifest["spec"]
    entry = spec["datasets"][dataset]
    split = "train" if "train" in entry["splits"] else next(iter(entry["splits"]))
    near = likeness(entry["task"], entry["splits"][split]["config"], spec["seed"])
    but = {} if near is None else near.differences
    words = (f"{key}={value if isinstance(value, str) else shown(value)}" for key, value in but.items())
    return {
        "name": dataset,
        "about": about_task(entry["task"]),
        "split": split,
        "near": near,
        "but": ", ".join(word[:_MOST_CHARACTERS] for word in words),
        "picture": picture_of(dataset),
        "columns": columns_of(manifest, dataset, samples),
    }
