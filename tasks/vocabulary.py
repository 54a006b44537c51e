"""What every id of a corpus means: published or shared ids, and the tokenizer.json that says so.

`published`: every dataset has the ids of its task's config, as in the paper; two tasks use the same id for
different things. `shared`: ids are dense and disjoint over the tasks of a corpus, so that one model with a
small embedding trains on all. A tokenizer's ids (Capo's) come first and stay as they are; then every task's
tokens, named <task:name>: tasks in the order of `tasks.registry.in_order`, tokens in that of their published
ids. A token that means the same in two datasets of a task is one.

`vocabulary_offset` raises every id of a corpus, of either kind, above those of another tokenizer, so that
its rows can be mixed with natural text in that tokenizer's ids. Capo's are raised like all others. Where Capo
is encoded with that very tokenizer none is needed: with `shared` its ids stay, and all others come above.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from . import get_task
from .base import INT32_MAX
from .core.batch import ragged, unragged
from .errors import ConfigError
from .registry import in_order

TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json")
TOKENIZERS = "tokenizers"  # the folder of those of single datasets
# What the special tokens of well-known tokenizers are called.
_ROLES = {"bos": ("<s>", "<bos>", "<|begin_of_text|>", "<|startoftext|>"), "eos": ()}
_PADDING = ("<pad>", "[PAD]", "<|pad|>", "<|finetune_right_pad_id|>")
_FILLED = 1 << 20  # below, ids that nothing uses get a name too, so that len(tokenizer) is the vocabulary's
_DIRECT = 1 << 20  # ids below are renamed through a table, larger ones by bisection


UNKNOWN = -1  # what a renaming makes of ids that it does not know; no token's


@dataclass(frozen=True, kw_only=True)
class Renaming:
    """A one-to-one map of ids."""

    sources: NDArray[np.int32]  # [ids], ascending
    targets: NDArray[np.int32]  # [ids]

    def __post_init__(self) -> None:
        first, last = (int(self.sources[0]), int(self.sources[-1])) if len(self.sources) else (0, _DIRECT)
        direct = first >= 0 and last - first < _DIRECT
        # From one before the first source to one after the last: what lies beyond either is none.
        table = np.full(last - first + 3 if direct else 0, UNKNOWN, dtype=np.int32)
        if direct:
            table[self.sources - (first - 1)] = self.targets
        object.__setattr__(self, "_table", table)

    def ids(self, tokens: NDArray[np.int32]) -> NDArray[np.int32]:
        """The new ids of `tokens`; UNKNOWN for what is none of the sources."""
        table: NDArray[np.int32] = self._table  # type: ignore[attr-defined]
        if len(table):
            places = tokens - np.int64(int(self.sources[0]) - 1)
            return table.take(places, mode="clip")
        if not len(self.sources):
            return np.full(len(tokens), UNKNOWN, dtype=np.int32)
        places = np.minimum(np.searchsorted(self.sources, tokens), len(self.sources) - 1)
        return np.where(self.sources[places] == tokens, self.targets[places], UNKNOWN).astype(np.int32)

    def batch(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The same rows with the new `input_ids`."""
        place = batch.schema.get_field_index("input_ids")
        tokens, offsets = unragged(batch.column(place))
        start, stop = offsets[0], offsets[-1]
        renamed = ragged(self.ids(tokens[start:stop]), (offsets - start).astype(np.int32))
        return batch.set_column(place, batch.schema.field(place), renamed)

    def inverse(self) -> Renaming:
        """The map back."""
        order = np.argsort(self.targets)
        return Renaming(sources=self.targets[order], targets=self.sources[order])


def shared_ids(datasets: Mapping[str, Any]) -> dict[tuple[str, str], int]:
    """(task, published name) -> shared id, of every token that a spec's datasets can hold.

    ConfigError where two of them have different tokenizers.
    """
    ids: dict[tuple[str, str], int] = {}
    tokenizers = _tokenizers(datasets)
    if len(set(tokenizers.values())) > 1:
        raise ConfigError(
            f"spec: vocabulary=shared needs one tokenizer, but {' and '.join(tokenizers)} have different "
            "ones; give them the same, or set vocabulary=published"
        )
    following = 0
    for task, config in _configs({name: datasets[name] for name in list(tokenizers)[:1]}):
        names = get_task(task).tokens(config)
        ids |= {(task, name): token for token, name in names.items()}
        following = max(following, 1 + max(names))
        if following > len(names):
            raise ConfigError(
                f"spec: vocabulary=shared needs a tokenizer whose ids have no gaps, but the {len(names):,} "
                f"tokens of {next(iter(tokenizers))} go up to id {following - 1:,}; set vocabulary=published"
            )
    written = {name: (task, name) for task, name in ids}
    for wanted in in_order(entry["task"] for entry in datasets.values()):
        for task, config in _configs(datasets):
            if task != wanted or get_task(task).tokenizer is not None:
                continue
            for _, name in sorted(get_task(task).tokens(config).items()):
                token = (task, name)
                if token in ids:
                    continue
                if written.setdefault(shared_name(*token), token) != token:
                    raise ConfigError(
                        f"spec: vocabulary=shared cannot name {name!r} of {task}: the tokenizer has "
                        f"{shared_name(*token)!r} already; set vocabulary=published"
                    )
                ids[token] = following
                following += 1
    return ids


def shared_name(task: str, name: str) -> str:
    """A token's name in the shared vocabulary: <depo:query_3>, <mano:+>; brackets of its own are left out."""
    return f"<{task}:{name.replace('<', '').replace('>', '')}>"


def renaming(datasets: Mapping[str, Any], dataset: str, split: str) -> Renaming | None:
    """From the published to the shared ids of a split of a spec's datasets; None where they are the same."""
    if get_task(datasets[dataset]["task"]).tokenizer is not None:
        return None
    shared = shared_ids(datasets)
    task, names = _published(datasets, dataset, split)
    return Renaming(
        sources=np.array(list(names), dtype=np.int32),
        targets=np.array([shared[task, name] for name in names.values()], dtype=np.int32),
    )


def offset_of(spec: Mapping[str, Any]) -> int:
    """How much every id of a corpus is raised."""
    offset: int = spec.get("vocabulary_offset", 0)
    return offset


def check_offset(spec: Mapping[str, Any]) -> None:
    """ConfigError where a spec's offset has nothing to raise, or raises an id beyond what int32 holds."""
    offset, lowest = offset_of(spec), {**spec, "vocabulary_offset": 0}
    named = [name for name in spec["datasets"] if any(_configs({name: spec["datasets"][name]}))]
    if not offset:
        return
    if not named:
        raise ConfigError(
            f"spec: vocabulary_offset={offset}: no dataset has ids, all hold texts; leave it out"
        )
    most = INT32_MAX - (corpus_vocab_size(lowest, named) - 1)
    if offset > most:
        raise ConfigError(
            f"spec: vocabulary_offset={offset}: ids would go up to {INT32_MAX + offset - most}, which "
            f"int32 does not hold; lower it to {most} or less"
        )


def split_renaming(spec: Mapping[str, Any], dataset: str, split: str) -> Renaming | None:
    """The renaming of a split's examples before they are written; None where they stay as they are."""
    offset = offset_of(spec)
    renamed = renaming(spec["datasets"], dataset, split) if spec["vocabulary"] == "shared" else None
    if not offset:
        return renamed
    if renamed is None:
        ids = np.array(list(_published(spec["datasets"], dataset, split)[1]), dtype=np.int32)
        renamed = Renaming(sources=ids, targets=ids)
    if not len(renamed.sources):
        return None  # texts
    return Renaming(sources=renamed.sources, targets=renamed.targets + np.int32(offset))


def _published(datasets: Mapping[str, Any], dataset: str, split: str) -> tuple[str, dict[int, str]]:
    """The task of a split, and id -> name of its tokens, ids ascending."""
    task = get_task(datasets[dataset]["task"])
    return task.name, dict(sorted(task.tokens(datasets[dataset]["splits"][split]["config"]).items()))


def split_names(spec: Mapping[str, Any], dataset: str, split: str) -> dict[int, str]:
    """id -> name of every token in the rows of a split, as the corpus has them."""
    task, names = _published(spec["datasets"], dataset, split)
    renamed = split_renaming(spec, dataset, split)
    if renamed is None:
        return names
    shared = spec["vocabulary"] == "shared" and get_task(task).tokenizer is None
    return {
        new: shared_name(task, names[old]) if shared else names[old]
        for old, new in zip(renamed.sources.tolist(), renamed.targets.tolist(), strict=True)
    }


def corpus_vocab_size(spec: Mapping[str, Any], names: Iterable[str]) -> int:
    """The ids of a model for the datasets `names`: of the whole corpus where its vocabulary is shared."""
    datasets = spec["datasets"]
    if spec["vocabulary"] == "shared":
        return offset_of(spec) + max(shared_ids(datasets).values()) + 1
    configs = _configs({name: datasets[name] for name in names})
    return offset_of(spec) + 1 + max(max(get_task(task).tokens(config)) for task, config in configs)


def tokenizer_folder(dataset: str) -> str:
    """Where a dataset's tokenizer stands: apart from its shards, whose folder other readers take whole."""
    return f"{TOKENIZERS}/{dataset}"


def tokenizer_files(spec: Mapping[str, Any], *, old: bool = False) -> Iterator[tuple[str, bytes]]:
    """(path in the corpus, content) of the files with which `AutoTokenizer` loads the corpus's vocabulary.

    With shared ids they stand in the corpus's folder; with published ones in `tokenizers/DATASET`, and in
    the corpus's too where all its datasets have the same. A tokenizer that a dataset's texts were encoded
    with stands there in any case, just as it is: what is needed to make the corpus again.

    Where ids are raised, no file says another id than the rows have but that of a tokenizer of texts, which
    stays as it is (its ids are the rows' less the offset); a shared vocabulary with one is then told dataset
    by dataset, without those ids.

    old: as corpora of before have them: beside the shards, and without special tokens.
    """
    if offset_of(spec):
        yield from _raised_files(spec)
        return
    datasets = spec["datasets"]
    tokenizers = _tokenizers(datasets)
    folders = {name: name if old else tokenizer_folder(name) for name in datasets}
    for name, tokenizer in tokenizers.items():
        yield from _files(f"{folders[name]}/", tokenizer, {}, old)
    if spec["vocabulary"] == "shared":
        ids = shared_ids(datasets)
        names = {ids[key]: shared_name(*key) for key in ids if get_task(key[0]).tokenizer is None}
        if ids:
            yield from _files("", next(iter(tokenizers.values()), None), names, old)
        return
    numbered: list[tuple[Tokenizer | None, dict[int, str]]] = [
        (tokenizer, {}) for tokenizer in tokenizers.values()
    ]
    for name, entry in datasets.items():
        names = {}
        for task, config in _configs({name: entry}):
            names |= get_task(task).tokens(config) if name not in tokenizers else {}
        if names:
            numbered.append((None, names))
            yield from _files(f"{folders[name]}/", None, names, old)
    if numbered and all(tokens == numbered[0] for tokens in numbered):
        yield from _files("", *numbered[0], old)


def _raised_files(spec: Mapping[str, Any]) -> Iterator[tuple[str, bytes]]:
    """The files of `tokenizer_files` of a corpus with an offset."""
    datasets = spec["datasets"]
    tokenizers = _tokenizers(datasets)
    for name, tokenizer in tokenizers.items():
        yield from _files(f"{tokenizer_folder(name)}/", tokenizer, {}, False)
    called: dict[str, dict[int, str]] = {}
    for name in (name for name in datasets if name not in tokenizers):
        names: dict[int, str] = {}
        for split in datasets[name]["splits"]:
            names |= split_names(spec, name, split)
        if names:
            called[name] = names
    apart = spec["vocabulary"] == "published" or tokenizers
    for name, names in called.items() if apart else ():
        yield from _files(f"{tokenizer_folder(name)}/", None, names, False)
    every = list(called.values())
    if every and not tokenizers and (not apart or all(names == every[0] for names in every)):
        yield from _files("", None, {token: name for names in every for token, name in names.items()}, False)


def _configs(datasets: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """(task, config) of every split that holds ids."""
    for name in sorted(datasets):
        entry = datasets[name]
        for split in sorted(entry["splits"]):
            config = entry["splits"][split]["config"]
            if get_task(entry["task"]).tokens(config):
                yield entry["task"], config


Tokenizer = tuple[str, str | None]  # tokenizer.json, end-of-text token


def _tokenizers(datasets: Mapping[str, Any]) -> dict[str, Tokenizer]:
    """Dataset -> the tokenizer that its ids are of, of those that have one."""
    tokenizers: dict[str, Tokenizer] = {}
    for name in sorted(datasets):
        task = get_task(datasets[name]["task"])
        if task.tokenizer is None:
            continue
        texts = [task.tokenizer(config) for _, config in _configs({name: datasets[name]})]
        if len(set(texts)) > 1:
            raise ConfigError(f"spec: dataset {name}: its splits have different tokenizers; give them one")
        if texts:
            tokenizers[name] = texts[0]
    return tokenizers


def _files(
    folder: str, tokenizer: Tokenizer | None, names: Mapping[int, str], old: bool
) -> Iterator[tuple[str, bytes]]:
    """A WordLevel tokenizer of `names`, or `tokenizer` with them added to it."""
    config: dict[str, Any] = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "clean_up_tokenization_spaces": False,
    }
    special = {} if old else special_tokens(tokenizer, names)
    if tokenizer is None:
        text = _word_level(names, set(special.values()))
    else:
        extended = json.loads(tokenizer[0])
        extended["added_tokens"] += [_added(token, name) for token, name in sorted(names.items())]
        text = json.dumps(extended, ensure_ascii=False, indent=1)
        config["eos_token"] = tokenizer[1]  # null too: else whoever loads it would guess
    for path, content in zip(TOKENIZER_FILES, (text, json.dumps(config | special, indent=1)), strict=True):
        yield f"{folder}{path}", content.encode() + b"\n"


def special_tokens(tokenizer: Tokenizer | None, names: Mapping[int, str]) -> dict[str, str]:
    """bos_token, eos_token, pad_token and unk_token of a vocabulary: those that it has, by their names.

    No id moves and none is new. Where nothing is for padding the token that begins an example is: a causal
    model never has to say it, so a collator that takes padding out of the labels takes nothing away. Where
    no example has a beginning, the end is.
    """
    own: set[str] = set()
    contents: dict[str, str] = {}
    if tokenizer is not None:
        parts = json.loads(tokenizer[0])
        own = {token["content"] for token in parts["added_tokens"] if token["special"]}
        unknown = parts["model"].get("unk_token")
        if isinstance(unknown, str) and (unknown in own or unknown in parts["model"]["vocab"]):
            contents["unk_token"] = unknown
        if tokenizer[1] is not None:
            contents["eos_token"] = tokenizer[1]
    given = [name for _, name in sorted(names.items())]
    for role, known in _ROLES.items():
        of_tasks = [name for name in given if name == f"<{role}>" or name.endswith(f":{role}>")]
        candidates = [*(name for name in known if name in own), *of_tasks]
        # Of a mixture every task has its own: none of them is the corpus's, but each will do to pad with.
        if len(candidates) == 1 or (candidates and candidates[0] in own):
            contents.setdefault(f"{role}_token", candidates[0])
        if role == "bos" and candidates:
            contents["pad_token"] = candidates[0]
    padding = next(
        (name for name in _PADDING if name in own), contents.get("pad_token", contents.get("eos_token"))
    )
    return contents if padding is None else {**contents, "pad_token": padding}


def _added(token: int, name: str, special: bool = False) -> dict[str, Any]:
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    return {"id": token, "content": name, **flags, "special": special}


def _word_level(names: Mapping[int, str], special: Collection[str]) -> str:
    """The JSON of a tokenizer whose words, parted by spaces, are `names`.

    A special token is cut out of a text before all else. So what has its name in its own (Mano's <bos>', of
    <bos>) is an added token too: of two that match the longer is taken.
    """
    words = {name: token for token, name in sorted(names.items())}
    assert len(words) == len(names), "two ids have one name"
    largest = max(names)
    if largest < _FILLED:
        words = {names.get(token, f"<unused_{token}>"): token for token in range(largest + 1)}
    return json.dumps(
        {
            "version": "1.0",
            "truncation": None,
            "padding": None,
            "added_tokens": [
                _added(token, name, name in special)
                for token, name in sorted(names.items())
                if any(word in name for word in special)
            ],
            "normalizer": None,
            "pre_tokenizer": {"type": "WhitespaceSplit"},
            "post_processor": None,
            "decoder": None,
            # No unknown token: a word that is none of the vocabulary's is an error, not silently another id.
            "model": {"type": "WordLevel", "vocab": words, "unk_token": "<unk>"},
        },
        ensure_ascii=False,
        indent=1,
    )
