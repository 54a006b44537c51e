"""What a spec says of deduplication, checked at the door.

What each mode does to the law of the examples, which are independent draws with it `off`:

- `disjoint`: those of train are drawn given that they are in no eval split; see `build/shards/disjoint.py`.
- `drop`: what stays of n draws is each example that came, once. One of chance p is there with a chance of
  1 - (1 - p)^n, which is n * p where that is small; frequent examples become rarer beside the others.
- `redraw`: n different examples, drawn one after another without those that are there. Frequent ones come
  early in a split and rare ones late: where a split takes most of what there is, its end is what is left.

Both matter only where some example's chance is not small beside 1 / n: short expressions, tiny configs.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ...tasks.errors import ConfigError, shown
from ...tasks.keys import Key, check_keys

MODES = ("disjoint", "off", "drop", "redraw")
SEARCHING = ("drop", "redraw")  # modes that compare all examples with one another
KEYS = ("tokens", "content")
_CHECKED = {
    "mode": Key(default=None, kind=str, choices=MODES, optional=True, help="what happens to duplicates"),
    "key": Key(default=None, kind=str, choices=KEYS, optional=True, help="by what two examples are the same"),
    "against": Key(default=None, kind=object, optional=True, help="corpora whose examples are left out"),
}
_AGAINST = ("name", "spec_digest", "content_digest")
DEFAULT_MEMORY = 1 << 30  # bytes
_LEAST_MEMORY = 1 << 20
UNITS = {"": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12} | {
    "KiB": 2**10,
    "MiB": 2**20,
    "GiB": 2**30,
    "TiB": 2**40,
}


def check_dedup(given: Any, where: str) -> dict[str, Any]:
    """The complete settings: mode, key, against; ConfigError says in one line what is wrong.

    against: of each corpus whose examples are left out, its path, name, spec_digest and content_digest.
    """
    settings = check_keys(f"{where}: dedup.", _as_text(given), _CHECKED)
    mode, key = settings["mode"] or "disjoint", settings["key"] or "tokens"
    against = [] if settings["against"] is None else settings["against"]
    if not isinstance(against, list | tuple):
        raise ConfigError(f"{where}: dedup.against={shown(against)} must be a list of corpora's folders")
    if mode not in SEARCHING:
        if against:
            raise ConfigError(
                f"{where}: dedup.against needs dedup.mode=drop or redraw: with mode={mode} other corpora are "
                "not looked at"
            )
        if mode == "disjoint" and key != "tokens":
            raise ConfigError(
                f"{where}: dedup.key={key} needs dedup.mode=drop or redraw: mode=disjoint compares tokens"
            )
    others = []
    for other in against:
        if not isinstance(other, Mapping) or not all(isinstance(other.get(name), str) for name in _AGAINST):
            raise ConfigError(
                f"{where}: dedup.against: {shown(other)} must be the folder of a corpus, or what a manifest "
                f"says of one: {', '.join(_AGAINST)}"
            )
        path = other.get("path")
        others.append({"path": path, **{name: other[name] for name in _AGAINST}})
    return {"mode": mode, "key": key if mode != "off" else "tokens", "against": others}


def _as_text(given: Any) -> Any:
    """YAML 1.1 reads a plain off as false."""
    return {**given, "mode": "off"} if isinstance(given, Mapping) and given.get("mode") is False else given


def searches(spec: Mapping[str, Any]) -> bool:
    """Whether all examples of a complete spec are compared with one another."""
    return spec["dedup"]["mode"] in SEARCHING


def check_evals(examples: int, needed: int, memory: int) -> None:
    """ConfigError where the fingerprints of so many eval examples need more than `memory` bytes."""
    if needed > memory:
        raise ConfigError(
            f"dedup.mode=disjoint keeps the fingerprints of all {examples:,} eval examples in each process, "
            f"{needed:,} bytes, over dedup.memory={memory:,}: raise that, or set dedup.mode=off, or drop, "
            "which needs no more whatever the splits"
        )


def check_memory(value: Any) -> int:
    """Bytes of a budget, given as a number or as text with a unit; ConfigError where it is not one."""
    if value is None:
        return DEFAULT_MEMORY
    match = re.fullmatch(r"([0-9][0-9_]*(?:\.[0-9]+)?) *([A-Za-z]*)", str(value)[:80])
    if isinstance(value, bool) or match is None or match[2] not in UNITS:
        raise ConfigError(f"dedup.memory={shown(value)} must be bytes, e.g. 2GiB or 500MB")
    size = int(float(match[1]) * UNITS[match[2]])
    if size < _LEAST_MEMORY:
        raise ConfigError(f"dedup.memory={shown(value)} must be at least 1 MiB")
    return size
