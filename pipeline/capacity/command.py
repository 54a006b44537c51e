"""`ostraca plan`: a config in, an estimate on the screen."""

from __future__ import annotations

import math
import re
import shutil
from collections.abc import Mapping
from typing import Any

from ...tasks.errors import ConfigError, check_integer, check_path, shown
from ...tasks.paths import is_local, local_path
from ..asked import corpus_spec
from ..dedup.against import with_against
from ..dedup.settings import UNITS, check_memory
from ..spec import check_spec
from .estimate import Cluster, estimate
from .measure import measure_disk, nearest_folder
from .report import Space, show


def run(config: Mapping[str, Any]) -> int:
    """`ostraca plan`: see conf/plan.yaml."""
    nodes, cores = (check_integer(f"plan: {key}", config[key], 1, 10**6) for key in ("nodes", "cores"))
    free = amount("disk", config["disk"])
    bandwidth = amount("bandwidth", config["bandwidth"])
    network = amount("network", config["network"])
    out = check_path("out", config["out"])
    given = with_against(corpus_spec(config, "plan"))
    check_spec(given)
    memory = check_memory(config["dedup"]["memory"])
    told = Space(out=out, free=free, told=free is not None, bandwidth_told=bandwidth is not None)
    disk = None
    if is_local(out):
        disk = measure_disk(local_path(out))
        found = float(shutil.disk_usage(nearest_folder(local_path(out))).free)
        told = Space(**{**vars(told), "free": free or found})
    if bandwidth is None and disk is not None and nodes == 1:  # what many take together is not known here
        bandwidth = disk.bandwidth
    cluster = Cluster(
        nodes=nodes,
        cores=cores,
        bandwidth=bandwidth,
        latency=0.0 if disk is None else disk.latency,
        network=network,
        memory=memory,
    )
    show(estimate(given, cluster), told, given)
    return 0


def amount(name: str, value: Any) -> float | None:
    """Bytes, or bytes a second, given as a number or as text with a unit; None for null."""
    if value is None:
        return None
    text = str(value)[:80].removesuffix("/s")
    found = re.fullmatch(r"([0-9][0-9_]*(?:\.[0-9]*)?(?:e\+?[0-9]+)?) *([A-Za-z]*)", text)
    number = float(found[1]) * UNITS.get(found[2], math.nan) if found else math.nan
    if isinstance(value, bool) or not 0 < number < math.inf:
        rate = "" if name == "disk" else " a second"
        raise ConfigError(f"plan: {name}={shown(value)} must be bytes{rate}, e.g. 500GB or 2TiB, or null")
    return number
