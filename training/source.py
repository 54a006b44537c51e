"""What a run trains on: a built corpus or its manifest, several of them, or examples made as it goes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..loaders import CorpusSource, Mixture, Source, TaskSource
from ..pipeline.spec.given import dataset_name
from ..tasks import get_task
from ..tasks.errors import ConfigError, check_path, shown
from ..tasks.examples import check_seed
from ..tasks.keys import Key, check_keys

_PART = {
    "corpus_path": Key(default=None, kind=str, help="of a corpus, or of its manifest"),
    "corpus_dataset": Key(default=None, kind=object, help="which dataset of it"),
    "where": Key(default=None, kind=str, optional=True, help="which of its rows"),
    "weight": Key(default=1.0, kind=object, help="a number, or [[step, weight], ...]"),
}
_LONGEST = 2048  # tokens a window, where the data say no more: the paper's


@dataclass(frozen=True, kw_only=True)
class Seeds:
    """What each part of a run is drawn from."""

    data: int  # the examples, where they are made as it goes, and the test sets
    init: int  # the model's first weights, and what is random in it
    order: int  # the order of the data

    @staticmethod
    def of(config: Mapping[str, Any]) -> Seeds:
        """`seed`, but where `data_seed`, `init_seed` or `order_seed` says otherwise."""
        seed = check_seed(config["seed"])
        own = {
            name: seed if config[f"{name}_seed"] is None else check_seed(config[f"{name}_seed"])
            for name in ("data", "init", "order")
        }
        return Seeds(**own)


@dataclass(frozen=True, kw_only=True)
class Data:
    """What a run trains on, and what it is called."""

    source: Source | Mixture
    name: str

    @property
    def sources(self) -> list[Source]:
        """The source, or those that are mixed."""
        return list(self.source.sources.values()) if isinstance(self.source, Mixture) else [self.source]

    @property
    def row_length(self) -> int | None:
        """The longest length that rows were packed to; None: none were."""
        return max((one.row_length for one in self.sources if one.row_length is not None), default=None)

    def longest(self) -> int:
        """Tokens of the longest example that there can be, or the paper's 2,048 where that is less."""
        known = [one for one in self.sources if isinstance(one, TaskSource | CorpusSource)]
        return max(min(_longest(one), _LONGEST) for one in known)


def _longest(source: TaskSource | CorpusSource) -> int:
    if isinstance(source, TaskSource):
        return int(get_task(source.task).max_tokens(source.config))
    return max(
        int(get_task(source.task_of(name)).max_tokens(source.config_of(name))) for name in source.datasets
    )


def open_data(config: Mapping[str, Any], seeds: Seeds) -> Data:
    """The training examples: of `mixture`, else of `corpus_path`, else made as it goes as `dataset` says.

    A corpus decides task and config: ConfigError where the user set `dataset` beside it.
    """
    path, mixture = config["corpus_path"], config["mixture"]
    if path is None and mixture is None:
        dataset = config["dataset"]
        _refuse_words(config, ("corpus_dataset", "corpus_where"), "there is no corpus; set corpus_path")
        source = TaskSource(dataset["task"], dataset["config"], seed=seeds.data)
        return Data(source=source, name=dataset_name(config))
    what = "mixture" if path is None else "corpus_path"
    _refuse_words(config, ("dataset",), f"the corpus in {what} decides the dataset; leave one of them out")
    if mixture is None:
        corpus = _corpus(path, config["corpus_dataset"], config["corpus_where"])
        return Data(source=corpus, name="-".join(corpus.datasets))
    _refuse_words(
        config, ("corpus_path", "corpus_dataset", "corpus_where"), "mixture says which corpora there are"
    )
    return _mixture(mixture)


def _refuse_words(config: Mapping[str, Any], keys: tuple[str, ...], why: str) -> None:
    """ConfigError where the user set one of these keys, or one below it."""
    for word in config.get("overrides", ()):
        key, _, value = word.partition("=")
        if key.partition(".")[0] in keys and value != "null":
            raise ConfigError(f"{word}: {why}")


def _corpus(path: Any, datasets: Any, where: Any) -> CorpusSource:
    return CorpusSource(check_path("corpus_path", path), datasets=datasets, where=where)


def _mixture(given: Any) -> Data:
    if not isinstance(given, Mapping) or not given:
        raise ConfigError(
            f"mixture={shown(given)} must name corpora, e.g. "
            "'mixture={depo: {corpus_path: corpora/depo, weight: 2}, mano: {corpus_path: corpora/mano}}'"
        )
    parts = {}
    for name, part in given.items():
        if not isinstance(part, Mapping):
            raise ConfigError(f"mixture.{name}={shown(part)} must be {{corpus_path: ..., weight: ...}}")
        keys = check_keys(f"mixture.{name}.", part, _PART)
        weight = keys["weight"]
        if isinstance(weight, list):
            weight = [tuple(pair) if isinstance(pair, list) else pair for pair in weight]
        parts[str(name)] = (_corpus(keys["corpus_path"], keys["corpus_dataset"], keys["where"]), weight)
    return Data(source=Mixture(parts), name="-".join(parts))
