"""`README.md` of a corpus: a dataset card, with which `datasets.load_dataset` reads the folder."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

import pyarrow as pa

from ...tasks.errors import shown
from ...tasks.registry import HOUSE
from ...tasks.vocabulary import corpus_vocab_size, tokenizer_folder
from ..corpus.split import SplitId
from ..corpus.split_statistics import Counts
from ..spec.presets import aliases, likeness
from .columns import about_column, about_task, paper_of, schema_of, sources, type_name
from .figures import (
    dedup_mode,
    figures_of,
    keys_of,
    megabytes,
    of_texts,
    percent,
    read_by_datasets,
    shards_of,
    short,
    told_mode,
    total,
    usage,
)
from .pictures import MIXTURE, picture_of

_SIZES = ("1K", "10K", "100K", "1M", "10M", "100M", "1B", "10B", "100B", "1T")


def make_card(
    manifest: Mapping[str, Any],
    statistics: Mapping[SplitId, Counts],
    samples: Mapping[SplitId, pa.RecordBatch],
    drawn: Sequence[str],
) -> str:
    """The whole card; drawn: the paths of the pictures that there are."""
    parts = [
        _front_matter(manifest, statistics),
        f"# {manifest['name']}",
        _what(manifest, statistics),
        _table(manifest, statistics),
        _picture(MIXTURE, drawn, "Tokens of each dataset, and how many of them are in the loss"),
        _loading(manifest),
        _labels(manifest),
        _datasets(manifest, samples, drawn),
        _vocabulary(manifest),
        _duplicates(manifest, statistics),
        _again(manifest),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def size_category(examples: int) -> str:
    """The hub's word for a number of examples."""
    for power, name in enumerate(_SIZES, 3):
        if examples < 10**power:
            return f"n<{name}" if power == 3 else f"{_SIZES[power - 4]}<n<{name}"
    return "n>1T"


def _front_matter(manifest: Mapping[str, Any], statistics: Mapping[SplitId, Counts]) -> str:
    examples = sum(counts.after.rows for counts in statistics.values())
    lines = ["---", f"pretty_name: {json.dumps(manifest['name'])}"]
    lines += ["task_categories:", "- text-generation", "size_categories:", f"- {size_category(examples)}"]
    lines += ["tags:", "- synthetic", "- pretraining", "- ostraca", "- physics-of-language-models"]
    lines += [f"- {task}" for task in manifest["tasks"]]
    readable = read_by_datasets(manifest)
    lines += ["configs:"] if readable else []
    keys = keys_of(manifest) if readable else ()
    datasets = list(dict.fromkeys(dataset for dataset, _ in keys))
    shorter = short_names(datasets)
    for dataset in datasets:
        for name in (dataset, *([shorter[dataset]] if dataset in shorter else [])):
            lines.append(f"- config_name: {json.dumps(name)}")
            if name in shorter and len(datasets) == 1:
                lines.append("  default: true")  # of two names for one thing
            lines.append("  data_files:")
            for key in keys:
                if key[0] == dataset:
                    lines += [f"  - split: {key[1]}", f"    path: {json.dumps(pattern(manifest, key))}"]
    return "\n".join([*lines, "---"])


def short_names(datasets: Sequence[str]) -> dict[str, str]:
    """depo1 of depo1-225, by which it was built: what a preset is called for short, if nothing else is."""
    # Of depo and depo1 the latter: a task's bare name is the last resort.
    names = sorted(aliases().items(), key=lambda each: each[0] not in HOUSE)
    shorter = {target: name for name, target in names}
    return {each: shorter[each] for each in datasets if each in shorter and shorter[each] not in datasets}


def pattern(manifest: Mapping[str, Any], key: SplitId) -> str:
    """A glob of a split's shards: depo/train-*.parquet."""
    name = PurePosixPath(shards_of(manifest, key)[0]["path"]).name
    return f"{key[0]}/{key[1]}-*.{name.partition('.')[2]}"


def _what(manifest: Mapping[str, Any], statistics: Mapping[SplitId, Counts]) -> str:
    every = total(figures_of(manifest, statistics).values())
    paper = paper_of(manifest["tasks"])
    of = "" if paper is None else f" of *{paper.title.partition(':')[0]}*"
    return (
        f"{every.examples:,} examples of synthetic pretraining tasks{of}, "
        f"{short(every.tokens)} tokens, {percent(every.learned_share)} of them in the loss. Made by Ostraca: "
        "every example was validated by code that did not make it, and anyone can make every one again from "
        "`manifest.json` alone.\n\n"
        f"Content digest: `{manifest['content_digest']}`. `report.html` shows the distributions and rows."
    )


def _table(manifest: Mapping[str, Any], statistics: Mapping[SplitId, Counts]) -> str:
    figures, packed = figures_of(manifest, statistics), manifest["spec"].get("pack")
    mode = told_mode(manifest, figures)
    heads = ["dataset", "split", "examples", *(["packed rows"] if packed else []), "tokens", "mean length"]
    heads += ["in the loss", *([] if mode == "off" else [f"duplicates {_gone(mode)}"]), "size"]
    lines = [f"| {' | '.join(heads)} |", f"|{'---|' * 2}{'---:|' * (len(heads) - 2)}"]
    for (dataset, split), each in figures.items():
        cells = [dataset, split, f"{each.examples:,}", *([f"{each.rows:,}"] if packed else [])]
        cells += [f"{each.tokens:,}", f"{each.mean:,.1f}", percent(each.learned_share)]
        cells += [] if mode == "off" else [f"{each.dropped if mode == 'drop' else each.redrawn:,}"]
        lines.append(f"| {' | '.join([*cells, megabytes(each.bytes)])} |")
    return "\n".join(lines)


def _gone(mode: str) -> str:
    return "dropped" if mode == "drop" else "redrawn"


def _picture(path: str, drawn: Sequence[str], words: str) -> str:
    return f"![{words}]({path})" if path in drawn else ""


def _loading(manifest: Mapping[str, Any]) -> str:
    code = usage(manifest, "PATH")
    return f"## Use\n\n```python\n{code}\n```" if code else ""


def _labels(manifest: Mapping[str, Any]) -> str:
    """How a row becomes what a causal model of `transformers` is trained on, and with which tokenizer."""
    dataset = next(iter(manifest["spec"]["datasets"]))
    if of_texts(manifest, dataset) or manifest["spec"]["format"] != "parquet":
        return ""
    own = "" if manifest["spec"]["vocabulary"] == "shared" else f"/{tokenizer_folder(dataset)}"
    return f"""Only tokens with `loss_mask` 1 are in the loss; the model shifts the labels by one itself:

```python
def labels(row):  # -100: only read
    return {{"labels": [t if m else -100 for t, m in zip(row["input_ids"], row["loss_mask"], strict=True)]}}
dataset = dataset.map(labels)
```

`AutoTokenizer.from_pretrained("PATH{own}")` has the special tokens there are and one to pad with, so
`transformers.DataCollatorForSeq2Seq` and `transformers.Trainer` take these rows as they are."""


def _datasets(
    manifest: Mapping[str, Any], samples: Mapping[SplitId, pa.RecordBatch], drawn: Sequence[str]
) -> str:
    """A section for each dataset: what it asks, its distributions, its columns."""
    parts = []
    for dataset, entry in manifest["spec"]["datasets"].items():
        sample = next(
            (samples[key] for key in keys_of(manifest) if key[0] == dataset and key in samples), None
        )
        parts.append(f"## {dataset}")
        parts.append(about_task(entry["task"]))
        parts.append(_setting(manifest["spec"]["seed"], dataset, entry))
        parts.append(_picture(picture_of(dataset), drawn, f"Distributions of {dataset}"))
        lines = ["| column | type | |", "|---|---|---|"]
        schema = schema_of(manifest, dataset, sample)
        for field in schema:
            about = about_column(entry["task"], field.name, schema).replace("<", "&lt;")
            lines.append(f"| `{field.name}` | {type_name(field.type)} | {about} |")
        parts.append("\n".join(lines))
    return "\n\n".join(part for part in parts if part)


def _setting(seed: int, dataset: str, entry: Mapping[str, Any]) -> str:
    """Which published preset this is, exactly, or where it differs."""
    split = "train" if "train" in entry["splits"] else next(iter(entry["splits"]))
    near = likeness(entry["task"], entry["splits"][split]["config"], seed)
    if near is None:
        return ""
    if not near.differences:
        return f"Setting ({split}): the preset `{near.preset}`, exactly."
    but = ", ".join(
        f"{key}={value if isinstance(value, str) else shown(value)}"[:120]
        for key, value in near.differences.items()
    )
    return f"Setting ({split}): no preset; as `{near.preset}`, except {but}."


def _vocabulary(manifest: Mapping[str, Any]) -> str:
    spec = manifest["spec"]
    named = [each for each in spec["datasets"] if not of_texts(manifest, each)]
    if not named:
        return ""
    if spec["vocabulary"] == "shared":
        size = corpus_vocab_size(spec, named)
        words = (
            f"Ids are dense and disjoint over the tasks: {size:,} in all. `tokenizer.json` names every one "
            '(`AutoTokenizer.from_pretrained("PATH")`).'
        )
    else:
        sizes = ", ".join(f"{each} {corpus_vocab_size(spec, [each]):,}" for each in named)
        words = (
            "Every dataset has the ids of its task as published; two tasks use the same id for different "
            f"things. Largest id plus 1: {sizes}. `tokenizers/DATASET/tokenizer.json` names every one of a "
            'dataset\'s (`AutoTokenizer.from_pretrained("PATH/tokenizers/DATASET")`).'
        )
    return f"## Vocabulary\n\n{words}"


def _duplicates(manifest: Mapping[str, Any], statistics: Mapping[SplitId, Counts]) -> str:
    dedup, mode = manifest["spec"].get("dedup") or {}, dedup_mode(manifest)
    if mode == "off":
        words = "Not looked for: an example stands as often as it was drawn."
    elif mode == "disjoint":
        left_out = total(figures_of(manifest, statistics).values()).dropped
        words = (
            "No example of an eval split (any whose name does not begin with train) is in train, by its "
            f"tokens: {left_out:,} that were drawn for train are left out. Nothing else was looked for."
        )
    else:
        every = total(figures_of(manifest, statistics).values())
        gone = every.dropped if mode == "drop" else every.redrawn
        same = "ask the same" if dedup.get("key") == "content" else "have the same tokens"
        words = (
            f"Two examples of a task that {same} are one. {gone:,} were {_gone(mode)}: none stands twice, "
            "in whichever splits."
        )
        against = [str(each) for each in dedup.get("against") or ()]
        if against:
            words += f" None is in {', '.join(against)} either."
    return f"## Duplicates\n\n{words}"


def _again(manifest: Mapping[str, Any]) -> str:
    spec = manifest["spec"]
    tasks = ", ".join(f"{task} (version {version})" for task, version in manifest["tasks"].items())
    splits = "\n".join(
        f"| {split} | `{entry['content_digest']}` |" for split, entry in manifest["splits"].items()
    )
    return f"""## Make it again, and cite it

```
ostraca verify path=PATH       # every byte against the manifest
ostraca reproduce path=PATH    # every example made again from the manifest, and compared
```

The content digest is of the examples alone, whatever the shards, the format and the libraries. Cite it, with
the task versions: {tasks}; seed {spec["seed"]}.

| | content digest |
|---|---|
| all | `{manifest["content_digest"]}` |
{splits}

Spec digest: `{manifest["spec_digest"]}`. {sources(manifest["tasks"], "*")}""".rstrip()
