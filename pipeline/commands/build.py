"""`ostraca build`: a config in, a corpus and lines about it out."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ...tasks.errors import ConfigError, check_bool, check_path, shown
from ..build.dedup.against import with_against
from ..build.jobs.times import Times
from ..build.jobs.watch import Watch
from ..check.again import FromManifest, open_manifest
from ..corpus.manifest import part_of, with_own_tokenizers
from ..corpus.records import ShardRecord
from ..forecast.room import build_where_room_is
from ..spec.check import check_spec
from ..spec.given import corpus_spec
from ..spec.shards import WHOLE, count_examples, count_shards
from .corpus_table import show_corpus
from .progress import ShardProgress
from .ray_settings import ray_settings


def _part(value: Any) -> tuple[int, int]:
    """The part of a corpus that part=2/8 means."""
    if value is None:
        return WHOLE
    match = re.fullmatch(r"([0-9]{1,6})/([0-9]{1,6})", str(value))
    if match is None or not 1 <= int(match[1]) <= int(match[2]):
        raise ConfigError(f"part={shown(value)} must be number/of, e.g. 2/8 for the second of eight parts")
    return int(match[1]), int(match[2])


def run(config: Mapping[str, Any]) -> int:
    """`ostraca build`: see conf/build.yaml."""
    out = check_path("out", config["out"])
    part, report = _part(config["part"]), check_bool("report", config["report"])
    mend = check_bool("mend", config["mend"])
    before = None
    if config["manifest"] is None:
        spec = check_spec(with_own_tokenizers(out, with_against(corpus_spec(config))))
    else:
        before = open_manifest(config)
        spec, part = before.spec, part_of(before.manifest)
    times = Times()
    kept = made = 0
    title = f"build {spec['name']}"
    with ShardProgress(title, count_shards(spec, part), count_examples(spec, part)) as progress:

        def on_shard(record: ShardRecord, was_there: bool) -> None:
            nonlocal kept, made
            kept += record.tokens if was_there else 0
            made += 0 if was_there else record.tokens
            progress.advance(record.count, 0 if was_there else record.tokens)

        manifest = build_where_room_is(
            spec,
            out,
            engine=config["engine"],
            workers=config["workers"],
            ray=ray_settings(config),
            part=part,
            memory=config["dedup"]["memory"],
            report=report,
            mend=mend,
            disk=config["disk"],
            watch=Watch(on_shard=on_shard, on_step=progress.step, times=times),
        )
    making, total = times.rest(), times.total()
    show_corpus(out, manifest)
    if made == 0:
        print("already complete; nothing to do")
    else:
        earlier = f"; {kept / 1e6:,.1f} M tokens were there already" if kept else ""
        spent = {**times.seconds, "making": making}
        parts = ", ".join(f"{what} {seconds:.1f}" for what, seconds in spent.items())
        print(
            f"made {made / 1e6:,.1f} M tokens in {total:.1f} s ({parts}): "
            f"{made / making / 1e6:.1f} Mtok/s while making{earlier}"
        )
    return 0 if before is None else _compare(before, manifest)


def _compare(before: FromManifest, manifest: Mapping[str, Any]) -> int:
    """Say whether a corpus that was regenerated is the one of the manifest; status 1 where it is not."""
    compared = before.compare(manifest)
    for line in compared.lines:
        print(line)
    return int(not compared.same)
