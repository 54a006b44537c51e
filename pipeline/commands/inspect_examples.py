"""`inspect`: examples made on the spot, or rows of a built corpus, token by token."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from rich.console import Console
from rich.text import Text

from ...tasks import get_task
from ...tasks.base import Look, Task, ValidationResult
from ...tasks.core.batch import rows_of
from ...tasks.errors import ConfigError, check_bool, check_integer, check_path, nearest, shown
from ...tasks.examples import MAX_INDEX, check_seed, check_split, complete_config, generate_batches
from ...tasks.render import render, token_names, tokenizer_names
from ...tasks.vocabulary import Renaming
from ..corpus.manifest import read_manifest, spec_in
from ..corpus.manifest_checks import require_records
from ..corpus.packed import unpack_batch
from ..corpus.reader import split_reader
from ..corpus.split import Split
from ..spec.given import dataset_name
from ..spec.packing import CUTTING

_DOCUMENTS = 20  # of a packed row that are named
_COLORS = {"auto": None, "always": True, "never": False}


@dataclass(frozen=True, kw_only=True)
class Shown:
    """Where rows come from: examples of a dataset's config, or what a corpus holds."""

    title: str
    task: Task
    config: Mapping[str, Any]  # complete
    batches: Iterator[pa.RecordBatch]
    renaming: Renaming | None = None  # from the published ids to those in the batches
    pack: Mapping[str, Any] | None = None  # how the rows are packed

    def looks(
        self, published: pa.RecordBatch, tree: bool
    ) -> Iterator[tuple[str, dict[str, Any], Look, ValidationResult]]:
        """What each row is, its columns, how it is shown and what the validator says of it."""
        if self.pack is not None:
            for row, look, verdict in _packed_looks(self.task, self.config, self.pack, published):
                yield f"packed row from example {row['index']}", row, look, verdict
            return
        verdicts = self.task.validate(published, self.config)
        for number, example in enumerate(rows_of(published)):
            look = self.task.look(example, self.config, tree)
            yield f"example {example['index']}", example, look, verdicts[number]


def run(config: Mapping[str, Any]) -> None:
    """Print `show` examples of each source; see conf/inspect.yaml."""
    for key, low in (("show", 1), ("max_tokens", -1)):
        check_integer(f"inspect: {key}", config[key], low)
    check_integer("inspect: index", config["index"], 0, MAX_INDEX)
    if config["color"] not in tuple(_COLORS):
        raise ConfigError(f"inspect: color={shown(config['color'])} must be one of {', '.join(_COLORS)}")
    tree = check_bool("inspect: tree", config["tree"])
    console = Console(force_terminal=_COLORS[config["color"]], highlight=False, soft_wrap=False)
    for source in [_made(config)] if config["path"] is None else _of_corpus(config):
        if config["tokenizer_name_or_path"] is None:
            name_of = token_names(source.task.tokens(source.config))
        else:
            # A tokenizer of texts has the published ids, however those in the rows are raised.
            renaming = source.renaming if source.task.tokenizer is None else None
            name_of = tokenizer_names(str(config["tokenizer_name_or_path"]), renaming)
        for batch in source.batches:
            # Checked and shown with the published ids, whatever those in the rows.
            published = batch if source.renaming is None else source.renaming.inverse().batch(batch)
            for what, row, look, verdict in source.looks(published, tree):
                console.print(Text(f"{source.title}, {what}", style="bold"))
                limits = {"max_tokens": config["max_tokens"], "color": console.is_terminal}
                console.print(render(row, look, verdict, name_of, **limits))


def _packed_looks(
    task: Task, config: Mapping[str, Any], pack: Mapping[str, Any], batch: pa.RecordBatch
) -> Iterator[tuple[dict[str, Any], Look, ValidationResult]]:
    """Packed rows, a line for each document; the verdict is on those that are whole."""
    pieces = unpack_batch(batch)
    verdicts = task.validate(pieces.drop_columns(["offset"]), config)
    first = 0
    for row in rows_of(batch):
        documents, starts = row["documents"], row["starts"]
        last = len(documents) - 1
        # Whether the last one goes on elsewhere is not known: of a full row it is looked at, not judged.
        open_end = pack["mode"] in CUTTING and len(row["input_ids"]) == pack["length"]
        cut = [0] if row["offset"] else []
        if open_end and not verdicts[first + last] and last not in cut:
            cut.append(last)
        judged = [place for place in range(last + 1) if place not in cut]
        wrong = next((place for place in judged if not verdicts[first + place]), None)
        verdict = ValidationResult(valid=True)
        if wrong is not None:
            reason = f"example {documents[wrong]}: {verdicts[first + wrong].reason}"
            verdict = ValidationResult(valid=False, reason=reason)
        named = " ".join(map(str, documents[:_DOCUMENTS]))
        more = f" and {len(documents) - _DOCUMENTS} more" if len(documents) > _DOCUMENTS else ""
        parted = "".join(f", example {documents[place]} cut" for place in cut)
        facts = f"{len(documents)} document{'s' * (last > 0)}: {named}{more}{parted}"
        yield row, Look(facts=facts, breaks=starts[1:]), verdict
        first += len(documents)


def _made(config: Mapping[str, Any]) -> Shown:
    """Examples of a dataset's config, made on the spot."""
    entry = config["dataset"]
    task = get_task(entry["task"])
    seed, split = check_seed(config["seed"]), str(config["split"])
    complete = complete_config(task, entry["config"], seed)
    batches = generate_batches(task, complete, seed, split, config["index"], config["show"])
    return Shown(
        title=f"{dataset_name(config)}, seed {seed}, {split}", task=task, config=complete, batches=batches
    )


def _of_corpus(config: Mapping[str, Any]) -> list[Shown]:
    """The rows asked for of a built corpus: of the dataset `name`, or of each that has the split."""
    set_too = [word for word in config.get("overrides", ()) if word.startswith("dataset")]
    if set_too:
        raise ConfigError(
            f"{set_too[0]}: the corpus decides its datasets; say which with name=..., or leave path out"
        )
    root = check_path("path", config["path"])
    manifest = read_manifest(root)
    require_records(root, manifest)
    spec, split = spec_in(root, manifest), check_split(config["split"])
    datasets, name = spec["datasets"], config["name"]
    if name is not None and str(name) not in datasets:
        raise ConfigError(f"name={shown(name)}{nearest(name, datasets)}: {root} has {', '.join(datasets)}")
    asked = list(datasets) if name is None else [str(name)]
    chosen = [name for name in asked if split in datasets[name]["splits"]]
    if not chosen:
        splits = sorted({split for name in asked for split in datasets[name]["splits"]})
        raise ConfigError(
            f"split={split}{nearest(split, splits)}: {', '.join(asked)} has {', '.join(splits)}"
        )
    sources = []
    most = {name: datasets[name]["splits"][split]["examples"] for name in chosen}
    if config["index"] >= max(most.values()):
        held = ", ".join(f"{name}/{split} has {count:,}" for name, count in most.items())
        raise ConfigError(f"index={config['index']}: {held} examples, counted from 0")
    for dataset in chosen:
        resolved = Split.of(spec, dataset, split)
        if config["index"] >= resolved.examples:
            continue
        sources.append(
            Shown(
                title=f"{config['path']}: {dataset}, {split}",
                task=resolved.task,
                config=resolved.config,
                batches=split_reader(root, manifest, resolved).rows_from(config["index"], config["show"]),
                renaming=resolved.renaming,
                pack=resolved.pack,
            )
        )
    return sources
