"""The figures of a corpus that all its reports show, and how numbers are written."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ...tasks import get_task
from ..corpus.split import SplitId
from ..corpus.split_statistics import Counts
from ..spec.formats import FORMATS

_SIZES = ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k"))


@dataclass(frozen=True, kw_only=True)
class Figures:
    """A split of a dataset, or the sum of several."""

    examples: int = 0
    rows: int = 0  # of its shards: packed rows, where the corpus is packed, else examples
    tokens: int = 0  # in its shards; bytes, where the examples are texts
    learned: int = 0  # of `counted`, those with loss_mask 1
    counted: int = 0  # tokens of the examples before they were packed
    dropped: int = 0  # duplicates that are no longer there
    redrawn: int = 0  # duplicates in whose place another example stands
    shards: int = 0
    bytes: int = 0

    def __add__(self, other: Figures) -> Figures:
        return Figures(**{name: value + getattr(other, name) for name, value in vars(self).items()})

    @property
    def mean(self) -> float:
        """Tokens of an example."""
        return self.counted / max(self.examples, 1)

    @property
    def learned_share(self) -> float:
        """The part of the tokens that a model is trained to say, 0..1."""
        return self.learned / max(self.counted, 1)

    @property
    def dropped_share(self) -> float:
        """The part of the examples that were dropped as duplicates, 0..1."""
        return self.dropped / max(self.dropped + self.examples, 1)

    @property
    def bytes_per_token(self) -> float:
        """Bytes on disk for each token."""
        return self.bytes / max(self.tokens, 1)


def figures_of(manifest: Mapping[str, Any], statistics: Mapping[SplitId, Counts]) -> dict[SplitId, Figures]:
    """The figures of every split of every dataset: datasets in the spec's order, train first."""
    figures = {}
    for key in keys_of(manifest):
        counts, shards = statistics[key], shards_of(manifest, key)
        figures[key] = Figures(
            examples=counts.after.rows,
            rows=sum(record["rows"] for record in shards),
            tokens=sum(record["tokens"] for record in shards),
            learned=counts.after.learned,
            counted=counts.after.tokens,
            dropped=counts.dropped,
            redrawn=counts.redrawn,
            shards=len(shards),
            bytes=sum(record["bytes"] for record in shards),
        )
    return figures


def keys_of(manifest: Mapping[str, Any]) -> list[SplitId]:
    """(dataset, split) of all that a corpus, or a part of one, holds: in the spec's order, train first."""
    held = {
        (record["dataset"], split)
        for split, entry in manifest["splits"].items()
        for record in entry["shards"]
    }
    return [
        (dataset, split)
        for dataset, entry in manifest["spec"]["datasets"].items()
        for split in sorted(entry["splits"], key=lambda split: (split != "train", split))
        if (dataset, split) in held
    ]


def shards_of(manifest: Mapping[str, Any], key: SplitId) -> list[Mapping[str, Any]]:
    """The records of a split's shards."""
    dataset, split = key
    return [record for record in manifest["splits"][split]["shards"] if record["dataset"] == dataset]


def usage(manifest: Mapping[str, Any], path: str) -> str:
    """Python that reads the corpus at `path`: with `datasets`, and with Ostraca's own loaders."""
    dataset = next(iter(manifest["spec"]["datasets"]))
    split = next(split for name, split in keys_of(manifest) if name == dataset)
    parts = []
    if read_by_datasets(manifest):
        parts.append(
            f'import datasets\n\ndataset = datasets.load_dataset("{path}", "{dataset}", split="{split}")'
        )
    spec = manifest["spec"]
    if not any(of_texts(manifest, name) for name in spec["datasets"]):
        alone = len(spec["datasets"]) > 1 and spec["vocabulary"] != "shared"  # else all, as one mixture
        which = f', datasets="{dataset}"' if alone else ""
        length = "" if spec.get("pack") else ", length=2048"
        read = [r for r in manifest["splits"][split]["shards"] if not alone or r["dataset"] == dataset]
        lines = sum(r["rows"] if spec.get("pack") else r["tokens"] / 2048 for r in read)
        batch = 8 if lines >= 16 else 1  # there must be enough for one
        parts.append(
            "from ostraca import open_stream  # packed, in the same order on any number of ranks\n\n"
            f'stream = open_stream("{path}"{which}, split="{split}", batch_size={batch}{length})'
        )
    return "\n\n".join(parts)


def read_by_datasets(manifest: Mapping[str, Any]) -> bool:
    """Whether Hugging Face's `datasets` reads the shards: it does not unpack a tar with zstd."""
    spec = manifest["spec"]
    return spec["compression"] in FORMATS[spec["format"]].for_datasets


def total(figures: Iterable[Figures]) -> Figures:
    """The sum."""
    return sum(figures, Figures())


def sums_of(figures: Mapping[SplitId, Figures]) -> dict[str, Figures]:
    """The sums of the datasets; of a single one those of its splits."""
    place = 0 if len({dataset for dataset, _ in figures}) > 1 else 1
    names = dict.fromkeys(key[place] for key in figures)
    return {name: total(row for key, row in figures.items() if key[place] == name) for name in names}


def cells_of(row: Figures, told: str, packed: bool) -> dict[str, str]:
    """A line of a table of figures, by the heads of its columns; told: see `told_mode`."""
    cells = {"examples": f"{row.examples:,}"}
    cells |= {"packed rows": f"{row.rows:,}"} if packed else {}
    cells |= {"tokens": f"{row.tokens:,}", "mean length": f"{row.mean:,.1f}"}
    cells["in the loss"] = percent(row.learned_share)
    if told != "off":
        gone, count = ("dropped", row.dropped) if told == "drop" else ("redrawn", row.redrawn)
        cells[f"duplicates {gone}"] = f"{count:,}"
    cells |= {"shards": f"{row.shards:,}", "size": megabytes(row.bytes)}
    return cells | {"bytes / token": f"{row.bytes_per_token:.2f}"}


def dedup_mode(manifest: Mapping[str, Any]) -> str:
    """off, disjoint, drop or redraw."""
    return str((manifest["spec"].get("dedup") or {}).get("mode", "off"))


def told_mode(manifest: Mapping[str, Any], figures: Mapping[SplitId, Figures]) -> str:
    """What tables tell of duplicates: nothing (off), what was dropped, or what was redrawn (redraw)."""
    mode = dedup_mode(manifest)
    if mode == "disjoint":
        return "drop" if any(row.dropped for row in figures.values()) else "off"
    return mode


def short(count: float) -> str:
    """A count in three digits and a letter: 950, 14.1 k, 4.20 M, 1.20 B."""
    for size, letter in _SIZES:
        if count >= 0.9995 * size:
            value = count / size
            return f"{value:.{2 if value < 9.995 else 1 if value < 99.95 else 0}f} {letter}"
    return f"{count:.0f}"


def brief(count: float) -> str:
    """A round number in as few digits as it takes: 950, 1.5 k, 20 M."""
    for size, letter in _SIZES:
        if count >= size:
            return f"{count / size:.3g} {letter}"
    return f"{count:.3g}"


def percent(share: float) -> str:
    """A share, 0..1, as a percentage; small ones are not rounded away."""
    if 0 < share < 0.0005:
        return "<0.1%"
    if 0.9995 < share < 1:
        return ">99.9%"
    return f"{100 * share:.0f}%" if share in (0, 1) else f"{100 * share:.1f}%"


def megabytes(count: int) -> str:
    """Bytes in MB."""
    return f"{count / 1e6:,.1f} MB"


def unit_of(manifest: Mapping[str, Any], dataset: str) -> str:
    """What the lengths of a dataset's examples are counted in."""
    return "bytes" if of_texts(manifest, dataset) else "tokens"


def split_counts(
    manifest: Mapping[str, Any], statistics: Mapping[SplitId, Counts], dataset: str
) -> dict[str, Counts]:
    """The statistics of a dataset's splits, train first."""
    return {split: statistics[name, split] for name, split in keys_of(manifest) if name == dataset}


def of_texts(manifest: Mapping[str, Any], dataset: str) -> bool:
    """Whether a dataset's examples are texts, whose tokens are bytes."""
    entry = manifest["spec"]["datasets"][dataset]
    task = get_task(entry["task"])
    return any("text" in task.schema(split["config"]).names for split in entry["splits"].values())
