"""`inspect`: examples made on the spot, or rows of a built corpus, token by token."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from rich.console import Console

from pipeline.manifest import read_manifest, require_shards, spec_in
from pipeline.readers import split_reader
from tasks import get_task
from tasks.base import Task
from tasks.batch import rows_of
from tasks.errors import ConfigError, check_bool, check_integer, check_path, nearest, shown
from tasks.examples import MAX_INDEX, check_seed, check_split, complete_config, generate_batches
from tasks.render import render, token_names, tokenizer_names
from tasks.vocabulary import Renaming, split_renaming

_COLORS = {"auto": None, "always": True, "never": False}


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where examples come from: a dataset's config, or rows of a corpus."""

    title: str
    task: Task
    config: Mapping[str, Any]  # complete
    batches: Iterator[pa.RecordBatch]
    renaming: Renaming | None = None  # from the published ids to those in the batches


def show(config: Mapping[str, Any]) -> None:
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
            name_of = tokenizer_names(str(config["tokenizer_name_or_path"]), source.renaming)
        for batch in source.batches:
            # Checked and shown with the published ids, whatever those in the rows.
            published = batch if source.renaming is None else source.renaming.inverse().batch(batch)
            verdicts = source.task.validate(published, source.config)
            for row, example in enumerate(rows_of(published)):
                text = render(
                    example,
                    source.task.look(example, source.config, tree),
                    verdicts[row],
                    name_of,
                    title=f"{source.title}, example {example['index']}",
                    max_tokens=config["max_tokens"],
                    color=console.is_terminal,
                )
                console.print(text)


def _made(config: Mapping[str, Any]) -> Source:
    """Examples of a dataset's config, made on the spot."""
    entry = config["dataset"]
    task = get_task(entry["task"])
    seed, split = check_seed(config["seed"]), str(config["split"])
    complete = complete_config(task, entry["config"], seed)
    batches = generate_batches(task, complete, seed, split, config["index"], config["show"])
    return Source(title=f"{entry['name']}, seed {seed}, {split}", task=task, config=complete, batches=batches)


def _of_corpus(config: Mapping[str, Any]) -> list[Source]:
    """The rows asked for of a built corpus: of the dataset `name`, or of each that has the split."""
    set_too = [word for word in config.get("overrides", ()) if word.startswith("dataset")]
    if set_too:
        raise ConfigError(
            f"{set_too[0]}: the corpus decides its datasets; say which with name=..., or leave path out"
        )
    root = check_path("path", config["path"])
    manifest = read_manifest(root)
    require_shards(root, manifest)
    spec, split = spec_in(root, manifest), check_split(config["split"])
    datasets, name = spec["datasets"], config["name"]
    if name is not None and str(name) not in datasets:
        raise ConfigError(f"name={shown(name)}{nearest(name, datasets)}: {root} has {', '.join(datasets)}")
    asked = list(datasets) if name is None else [str(name)]
    chosen = [each for each in asked if split in datasets[each]["splits"]]
    if not chosen:
        splits = sorted({split for each in asked for split in datasets[each]["splits"]})
        raise ConfigError(
            f"split={split}{nearest(split, splits)}: {', '.join(asked)} has {', '.join(splits)}"
        )
    sources = []
    most = {each: datasets[each]["splits"][split]["examples"] for each in chosen}
    if config["index"] >= max(most.values()):
        held = ", ".join(f"{each}/{split} has {count:,}" for each, count in most.items())
        raise ConfigError(f"index={config['index']}: {held} examples, counted from 0")
    for each in chosen:
        entry = datasets[each]["splits"][split]
        if config["index"] >= entry["examples"]:
            continue
        if spec["pack"] is not None:
            raise ConfigError(
                f"{root}: its rows are packed, and no single examples; look at those of its config instead, "
                f"e.g. inspect dataset={each}"
            )
        sources.append(
            Source(
                title=f"{config['path']}: {each}, {split}",
                task=get_task(datasets[each]["task"]),
                config=entry["config"],
                batches=split_reader(root, spec, manifest, each, split).rows_from(
                    config["index"], config["show"]
                ),
                renaming=split_renaming(spec, each, split),
            )
        )
    return sources
