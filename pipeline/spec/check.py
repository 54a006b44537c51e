"""The spec of a corpus: a plain dictionary in, checked once, complete and with a digest of its own.

A spec names everything that decides the examples and how they are cut into shards, and nothing else: not
the workers, the engine or the folder. What the user gives:

    {"name": "depo1", "seed": 0, "shard_tokens": 16_777_216, "row_group_tokens": 262_144,
     "datasets": {"depo1": {"task": "depo", "config": {...},
                            "splits": {"train": {"tokens": 50_000_000},
                                       "test": {"examples": 1_000, "form": "test"}}}}}

and, where wanted, "format": "webdataset" with "compression": "zstd" or "none", "vocabulary": "shared",
"vocabulary_offset": 50257, "pack": {"length": 2048, "mode": "left_aligned"},
"dedup": {"mode": "drop", "key": "tokens", "against": []}.

A split has `examples`, or about so many `tokens`, or neither: then as many as its config has (Capo: people x
exposures), else 100,000 (1,000 of the test form). The complete spec has, for each split, its whole config
and its sizes in examples instead of tokens; it is what the manifest holds, and checking it again gives
itself.
"""

from __future__ import annotations

import copy
import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ...tasks import TASKS, get_task
from ...tasks.base import INT32_MAX, Task
from ...tasks.core.rng import canonical_json
from ...tasks.errors import ConfigError, check_integer, shown
from ...tasks.examples import check_seed, check_split, complete_config
from ...tasks.keys import Key, check_keys
from ...tasks.vocabulary import TOKENIZER_FILES, TOKENIZERS, check_offset, shared_ids
from .dedup import check_dedup
from .formats import FORMATS
from .packing import check_fits, check_pack
from .versions import check_version

DEFAULT_SHARD_TOKENS = 1 << 24  # doubled until a split has no more than DEFAULT_MOST_SHARDS
DEFAULT_MOST_SHARDS = 1 << 14
MAX_SHARDS = 10**6
MAX_SHARD_TOKENS = 1 << 40
DEFAULT_ROW_GROUP_TOKENS = 1 << 18
MAX_ROW_GROUP_TOKENS = 1 << 24  # a worker holds one in memory
DEFAULT_EXAMPLES = {"train": 100_000, "test": 1_000}  # by form
MAX_EXAMPLES = 10**15
MAX_TOKENS = 10**18
VOCABULARIES = ("published", "shared")  # see tasks.vocabulary
# Files and folders beside the datasets' own in a corpus's folder.
_REPORTS = ("report", "report.html", "README.md", "croissant.json")
RESERVED = ("manifest", "manifest.json", *_REPORTS, *TOKENIZER_FILES)
_KEYS = {
    "name": Key(default="corpus", kind=object, help="of the corpus"),
    "seed": Key(default=0, kind=object, help="what everything is drawn from"),
    "format": Key(default="parquet", kind=str, choices=tuple(FORMATS), help="of the shards"),
    "compression": Key(default=None, kind=object, help="of the shards"),
    "vocabulary": Key(default="published", kind=str, choices=VOCABULARIES, help="see tasks.vocabulary"),
    "vocabulary_offset": Key(default=0, low=0, high=INT32_MAX, help="raises every id by so much"),
    "pack": Key(default=None, kind=object, help="how rows are packed"),
    "dedup": Key(default=None, kind=object, help="what is deduplicated"),
    "shard_tokens": Key(default=None, low=1, high=MAX_SHARD_TOKENS, optional=True, help="about"),
    "row_group_tokens": Key(default=DEFAULT_ROW_GROUP_TOKENS, low=1, high=MAX_ROW_GROUP_TOKENS, help="about"),
    "datasets": Key(default=None, kind=object, help="by name"),
}
_DATASET_KEYS = {
    "name": Key(default=None, kind=object, help="as a dataset's own config file has it; not looked at"),
    "task": Key(default=None, kind=object, help="one of the tasks"),
    "version": Key(default=None, kind=object, help="of the task; its present one where left out"),
    "config": Key(default={}, kind=object, help="of the task, for all splits"),
    "splits": Key(default=None, kind=object, help="by name"),
}
_SPLIT_KEYS = {
    "examples": Key(default=None, low=1, high=MAX_EXAMPLES, optional=True, help="exactly"),
    "tokens": Key(default=None, low=1, high=MAX_TOKENS, optional=True, help="about"),
    "form": Key(default="train", kind=str, choices=tuple(DEFAULT_EXAMPLES), help="of the task's config"),
    "config": Key(default={}, kind=object, help="what differs from the dataset's"),
    "shard_examples": Key(default=None, low=1, high=MAX_EXAMPLES, optional=True, help="exactly"),
    "row_group_examples": Key(default=None, kind=object, help="exactly"),
}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


def check_spec(given: Mapping[str, Any], *, any_version: bool = False) -> dict[str, Any]:
    """The complete spec; ConfigError says in one line what is wrong with it.

    any_version: of the tasks; else OstracaError where one is not the version here.
    """
    spec = check_keys("spec: ", given, _KEYS)
    name = spec["name"]
    if not is_name(name):
        raise ConfigError(f"spec: name={shown(name)} must be letters, digits, '_', '-' and '.'")
    compression = _check_compression(spec["compression"], spec["format"])
    seed = check_seed(spec["seed"])
    pack = check_pack(spec["pack"], "spec")
    dedup = check_dedup(spec["dedup"], "spec")
    sizes = _Sizes(shard_tokens=spec["shard_tokens"], row_group_tokens=spec["row_group_tokens"], pack=pack)
    datasets = spec["datasets"]
    if not isinstance(datasets, Mapping) or not datasets:
        raise ConfigError("spec: datasets must name at least one dataset, each with a task and splits")
    folded: dict[str, Any] = {}
    for dataset in datasets:
        other = folded.setdefault(str(dataset).lower(), dataset)
        if other != dataset:
            raise ConfigError(
                f"spec: datasets {other} and {dataset} would share a folder on some file systems"
            )
    checked = {
        name: _check_dataset(name, datasets[name], seed, sizes, any_version)
        for name in sorted(datasets, key=str)
    }
    _refuse_twins(checked)
    shards = sum(-(-split["examples"] // split["shard_examples"]) for split in _splits(checked))
    if shards > MAX_SHARDS:
        raise ConfigError(
            f"spec: makes {shards:,} shards; the most is {MAX_SHARDS:,}: raise shard_tokens (or leave it out)"
        )
    if dedup["mode"] == "redraw":
        _refuse_counted(checked)
    if spec["vocabulary"] == "shared":
        shared_ids(checked)  # refuses what cannot share one
    offset = spec["vocabulary_offset"]
    check_offset({**spec, "datasets": checked})
    return {
        "name": name,
        "seed": seed,
        "format": spec["format"],
        "compression": compression,
        "vocabulary": spec["vocabulary"],
        # Left out where it is 0: specs of before the key was there are as they were.
        **({"vocabulary_offset": offset} if offset else {}),
        "pack": pack,
        "dedup": dedup,
        "datasets": checked,
    }


def is_name(value: Any) -> bool:
    """Whether this can be the name of a corpus."""
    return isinstance(value, str) and _NAME.fullmatch(value) is not None


def is_dataset_name(value: Any) -> bool:
    """Whether this can be the name of a dataset, and so of a folder in a corpus's."""
    return is_name(value) and value not in RESERVED


@dataclass(frozen=True, kw_only=True)
class _Sizes:
    """What decides how a split is cut."""

    shard_tokens: int | None
    row_group_tokens: int
    pack: Mapping[str, Any] | None


def _check_compression(given: Any, form: str) -> str:
    allowed = tuple(FORMATS[form].suffixes)
    compression = allowed[0] if given is None else given
    if not isinstance(compression, str) or compression not in allowed:
        raise ConfigError(
            f"spec: compression={shown(compression)} must be one of {', '.join(allowed)} with format={form}"
        )
    return compression


def _splits(datasets: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for entry in datasets.values():
        yield from entry["splits"].values()


def _refuse_counted(datasets: Mapping[str, Any]) -> None:
    """Drawn again, an example of a fixed population would be of somebody else."""
    for name, entry in datasets.items():
        task = get_task(entry["task"])
        for split in entry["splits"].values():
            if task.count is not None and task.count(split["config"]) is not None:
                raise ConfigError(
                    f"spec: dedup.mode=redraw: the examples of {name} are counted "
                    f"({task.count(split['config'])[1]}), so none can be redrawn; set dedup.mode=drop"
                )


def spec_digest(spec: Mapping[str, Any]) -> str:
    """sha256 of the complete spec's canonical JSON, in hexadecimal.

    Where a tokenizer, or a corpus in dedup.against, came from is left out: their own digests are in the spec.
    """
    plain = copy.deepcopy(dict(spec))
    for other in plain["dedup"]["against"]:
        other.pop("path")
    for config in configs_of(plain):
        if config.get("tokenizer_sha256") is not None:
            config.pop("tokenizer_name_or_path", None)
    return hashlib.sha256(canonical_json(plain).encode()).hexdigest()


def configs_of(spec: Any) -> Iterator[dict[str, Any]]:
    """Every config in a spec, complete or as given, whatever else is wrong with it."""
    datasets = spec.get("datasets") if isinstance(spec, dict) else None
    for entry in datasets.values() if isinstance(datasets, dict) else ():
        splits = entry.get("splits") if isinstance(entry, dict) else None
        holders = [entry, *(splits.values() if isinstance(splits, dict) else ())]
        yield from (
            holder["config"]
            for holder in holders
            if isinstance(holder, dict) and isinstance(holder.get("config"), dict)
        )


def _check_dataset(name: str, given: Any, seed: int, sizes: _Sizes, any_version: bool) -> dict[str, Any]:
    where = f"spec: dataset {name}"
    if not is_dataset_name(name) or name == TOKENIZERS:
        raise ConfigError(
            f"{where}: a dataset's name is letters, digits, '_', '-' and '.', "
            f"and none of {', '.join((*RESERVED, TOKENIZERS))}"
        )
    entry = check_keys(f"{where}: ", given, _DATASET_KEYS)
    if not isinstance(entry["task"], str):
        raise ConfigError(f"{where}: task={shown(entry['task'])} must be one of {', '.join(TASKS)}")
    task = get_task(entry["task"])
    version = check_integer(f"{where}: version", given.get("version", task.version), 1)
    if not any_version:
        check_version(task, version, name)
    splits = entry["splits"]
    if not isinstance(splits, Mapping) or not splits:
        raise ConfigError(f"{where}: splits must name at least one split, e.g. train: {{examples: 1000}}")
    base = _mapping(entry["config"], f"{where}: config")
    checked = {}
    for split in sorted(splits, key=str):
        check_split(split)
        checked[split] = _check_split(f"{where}, split {split}", task, base, splits[split], seed, sizes)
    return {"task": task.name, "version": version, "splits": checked}


def _check_split(
    where: str, task: Task, base: Mapping[str, Any], given: Any, seed: int, sizes: _Sizes
) -> dict[str, Any]:
    split = check_keys(f"{where}: ", _mapping(given, where), _SPLIT_KEYS)
    form = split["form"]
    of_form = task.test_form if form == "test" else {}
    own = _mapping(split["config"], f"{where}: config")
    config = complete_config(task, {**base, **of_form, **own}, seed)
    mean = task.mean_tokens(config)
    examples = _examples(where, task, config, mean, split)
    group = split["row_group_examples"]
    if group is None:
        group = max(1, round(sizes.row_group_tokens / mean))
    group = check_integer(f"{where}: row_group_examples", group, 1, max(1, int(MAX_ROW_GROUP_TOKENS / mean)))
    tokens = sizes.shard_tokens or _shard_tokens(examples * mean)
    # Whole row groups, so that only a shard's last one is smaller.
    groups = max(1, round(tokens / mean / group))
    shard = split["shard_examples"] or groups * group
    if sizes.pack is not None:
        if "input_ids" not in task.schema(config).names:
            raise ConfigError(f"{where}: its examples are texts, which cannot be packed; set bio=tokens")
        said = [field.name for field in task.schema(config) if str(field.type) == "string"]
        if said:
            raise ConfigError(
                f"{where}: attributes=true: a packed row is of several people, so it has no column "
                f"{said[0]}; leave attributes out, or set pack=null"
            )
        check_fits(sizes.pack["mode"], sizes.pack["length"], task.max_tokens(config), where)
        if shard % group and shard < examples:
            raise ConfigError(
                f"{where}: shard_examples={shard} must be whole row groups of {group} where rows are packed"
            )
    return {
        "examples": examples,
        "config": config,
        "shard_examples": shard,
        "row_group_examples": group,
    }


def _shard_tokens(tokens: float) -> int:
    """The default for a split of so many tokens: the manifest stays small however large the corpus."""
    size = DEFAULT_SHARD_TOKENS
    while tokens / size > DEFAULT_MOST_SHARDS and size < MAX_SHARD_TOKENS:
        size *= 2
    return size


def _examples(
    where: str, task: Task, config: Mapping[str, Any], mean: float, split: Mapping[str, Any]
) -> int:
    """How many examples a split has."""
    most, why = (None, "") if task.count is None else task.count(config)
    if split["examples"] is not None and split["tokens"] is not None:
        raise ConfigError(f"{where}: has both examples and tokens; leave one out, or set it to null")
    number: int
    if split["tokens"] is not None:
        number = max(1, round(split["tokens"] / mean))
    elif split["examples"] is not None:
        number = split["examples"]
    else:
        number = DEFAULT_EXAMPLES[split["form"]] if most is None else most
    if most is not None and number > most:
        raise ConfigError(
            f"{where}: {number:,} examples are asked for, but its config has {most:,} "
            f"({why}); ask for fewer, or raise these"
        )
    return number


def _refuse_twins(datasets: Mapping[str, Any]) -> None:
    """Two datasets of one task and config would hold the same examples: their names are no address."""
    seen: dict[str, str] = {}
    for name, entry in datasets.items():
        for split, split_entry in entry["splits"].items():
            address = canonical_json([entry["task"], split_entry["config"], split])
            if address in seen:
                raise ConfigError(
                    f"spec: datasets {seen[address]} and {name} have the same task and config in split "
                    f"{split}, so the same examples; leave one out, or give it another config"
                )
            seen[address] = name


def _mapping(value: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ConfigError(f"{where}={shown(value)} must be a mapping of keys to values")
    return value
