"""`inspect`: examples made on the spot, or rows of a built corpus, token by token."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
from rich.console import Console

from pipeline.manifest import read_manifest
from pipeline.readers import read_row_group
from tasks import get_task
from tasks.batch import rows_of
from tasks.errors import ConfigError, check_bool, check_integer, check_path, nearest, shown
from tasks.examples import MAX_INDEX, check_seed, complete_config, generate_batches
from tasks.render import render, token_names, tokenizer_names
from tasks.vocabulary import split_renaming

_COLORS = {"auto": None, "always": True, "never": False}


def show(config: Mapping[str, Any]) -> None:
    """Print `show` examples; see conf/inspect.yaml."""
    for key, low in (("show", 1), ("max_tokens", -1)):
        check_integer(f"inspect: {key}", config[key], low)
    check_integer("inspect: index", config["index"], 0, MAX_INDEX)
    if config["color"] not in _COLORS:
        raise ConfigError(f"inspect: color={shown(config['color'])} must be one of {', '.join(_COLORS)}")
    tree = check_bool("inspect: tree", config["tree"])
    console = Console(force_terminal=_COLORS[config["color"]], highlight=False, soft_wrap=False)
    if config["path"] is None:
        entry = config["dataset"]
        task = get_task(entry["task"])
        seed, split = check_seed(config["seed"]), str(config["split"])
        complete = complete_config(task, entry["config"], seed)
        batches = generate_batches(task, complete, seed, split, config["index"], config["show"])
        where = f"{entry['name']}, seed {seed}, {split}"
        renaming = None
    else:
        name, manifest, batches = _corpus_rows(config)
        spec, split = manifest["spec"], config["split"]
        task = get_task(spec["datasets"][name]["task"])
        complete = spec["datasets"][name]["splits"][split]["config"]
        renaming = split_renaming(spec, name, split)
        where = f"{config['path']}: {name}, {split}"
    if config["tokenizer_name_or_path"] is None:
        name_of = token_names(task.tokens(complete))
    else:
        name_of = tokenizer_names(str(config["tokenizer_name_or_path"]), renaming)
    for batch in batches:
        # Checked and shown with the published ids, whatever those in the rows.
        published = batch if renaming is None else renaming.inverse().batch(batch)
        verdicts = task.validate(published, complete)
        for row, example in enumerate(rows_of(published)):
            text = render(
                example,
                task.look(example, complete, tree),
                verdicts[row],
                name_of,
                title=f"{where}, example {example['index']}",
                max_tokens=config["max_tokens"],
                color=console.is_terminal,
            )
            console.print(text)


def _corpus_rows(config: Mapping[str, Any]) -> tuple[str, dict[str, Any], Iterator[pa.RecordBatch]]:
    """Dataset, manifest and the rows asked for, of a built corpus."""
    root = Path(check_path("path", config["path"]))
    manifest = read_manifest(root)
    datasets = manifest["spec"]["datasets"]
    name = config["name"] if config["name"] is not None else next(iter(datasets))
    if name not in datasets:
        raise ConfigError(f"name={name}{nearest(name, datasets)}: {root} has {', '.join(datasets)}")
    splits, split = datasets[name]["splits"], config["split"]
    if split not in splits:
        raise ConfigError(f"split={split}{nearest(split, splits)}: {name} has {', '.join(splits)}")
    entry = splits[split]
    if config["index"] >= entry["examples"]:
        raise ConfigError(
            f"index={config['index']}: {name}/{split} has {entry['examples']:,} examples, counted from 0"
        )
    records = [s for s in manifest["splits"][split]["shards"] if s["dataset"] == name]
    batches = _read(root, records, entry, config["index"], config["show"])
    return str(name), manifest, batches


def _read(
    root: Path, records: list[dict[str, Any]], entry: Mapping[str, Any], first: int, count: int
) -> Iterator[pa.RecordBatch]:
    """Rows first..first+count-1 of a split, from the row groups that hold them."""
    size = entry["row_group_examples"]
    last = min(first + count, entry["examples"])
    while first < last:
        shard, inside = divmod(first, entry["shard_examples"])
        group, row = divmod(inside, size)
        rows = min(size, records[shard]["rows"] - group * size)
        (batch,) = read_row_group(root, records[shard], group, rows).combine_chunks().to_batches()
        found = batch.slice(row, last - first)
        yield found
        first += found.num_rows
