"""`build`: from a spec to a whole corpus; killed at any moment, the same call resumes."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Unpack

from ...tasks.errors import ConfigError, OstracaError, shown
from ..corpus import manifest as manifests
from ..corpus.changes import Changes
from ..corpus.layout import LOCK, SPEC, STATE, aside_path, prints_path
from ..corpus.records import FORMAT_VERSION, ShardRecord, records_of
from ..corpus.tokenizer_copies import listed_files
from ..corpus.totals import Totals, are_lost, write_totals
from ..report.write import write_reports
from ..spec.check import check_spec, spec_digest
from ..spec.dedup import check_memory, searches
from ..spec.shards import WHOLE, Part, Shard, plan
from ..store.disk import free_bytes, refuse_where_full
from ..store.fence import Fence
from ..store.folder import Folder, read_json, write_bytes, write_json
from ..store.open import open_folder
from .dedup.against import against_prints, with_against
from .dedup.outcome import Outcome
from .dedup.search import OUTCOME, find_duplicates
from .jobs.engine import Engine, EngineSettings, available_cores, check_engine, open_engine
from .jobs.watch import Watch
from .resume import finished_shard, is_intact, left_behind, missing_files, refuse_other
from .shards.disjoint import eval_prints
from .shards.prints import prints_size
from .shards.shard import ShardResult, count_shard, make_shard, write_record
from .shards.warm import warm_kernels


class BuildSettings(EngineSettings, total=False):
    """How a corpus is built, never what: see `build`."""

    part: Part  # build only this part, for `ostraca merge`
    memory: int | str | None  # bytes that deduplication may take
    report: bool  # write the dataset card, report.html and croissant.json too, of no part
    mend: bool  # make again whatever is not what the manifest says, byte for byte


_DEFAULTS: BuildSettings = {
    "engine": "ray",
    "workers": None,
    "ray": None,
    "part": WHOLE,
    "memory": None,
    "report": False,
    "mend": False,
}
# Told folder, spec, part and workers: OstracaError where a disk is too small for what will be written.
RequireRoom = Callable[[Folder, Mapping[str, Any], Part, int], None]


def build(
    spec: Mapping[str, Any],
    out: Path | str,
    *,
    watch: Watch | None = None,
    require_room: RequireRoom | None = None,
    **settings: Unpack[BuildSettings],
) -> dict[str, Any]:
    """Build the corpus of `spec` in the folder `out` (a path or a URL of fsspec) and return its manifest.

    A folder in which the same build was begun is finished, its intact shards (sha256) kept. In one that
    holds the corpus already, shards that are gone or of another size are regenerated, with `mend` all that
    are not what the manifest says, byte for byte; else it is left as it is. Any other folder that is not
    empty is refused.

    require_room: None looks at no disk. TypeError where there is no such setting.
    """
    given: BuildSettings = {**_DEFAULTS, **settings}
    if len(given) > len(_DEFAULTS):
        raise TypeError(f"build() has no setting {next(key for key in given if key not in _DEFAULTS)!r}")
    folder, part, workers = open_folder(out), given["part"], given["workers"]
    complete = check_spec(manifests.with_own_tokenizers(folder, with_against(spec)))
    check_engine(given["engine"], workers, given["ray"])
    _check_part(complete, part)
    memory = check_memory(given["memory"])
    whole = refuse_other(folder, complete, part, locked=False)
    gone = [] if whole is None else missing_files(folder, whole)
    if whole is not None and not given["mend"] and not gone and not left_behind(folder):
        return whole
    if require_room is not None and whole is None:
        require_room(folder, complete, part, workers or available_cores())
    elif require_room is not None:
        refuse_where_full(folder, sum(file["bytes"] for file in gone), free_bytes(folder))
    with folder.lock(LOCK) as owner:
        folder = folder.fenced(Fence(path=LOCK, owner=owner))
        # Since the lock is ours: another build may have finished a moment ago.
        whole = refuse_other(folder, complete, part, locked=True)
        if whole is None or given["mend"] or missing_files(folder, whole):
            watch = watch or Watch()
            prepare = functools.partial(warm_kernels, complete)
            with open_engine(
                prepare, engine=given["engine"], workers=workers, ray=given["ray"], times=watch.times
            ) as engine:
                work = _Build(
                    folder=folder,
                    spec=complete,
                    digest=spec_digest(complete),
                    part=part,
                    engine=engine,
                    memory=memory,
                    watch=watch,
                )
                whole = work.run(whole, given["report"])
        else:
            folder.remove_unfinished()
        folder.remove_all(STATE)
    return whole


@dataclass(kw_only=True)
class _Build:
    """One call of `build` that holds the lock."""

    folder: Folder
    spec: dict[str, Any]
    digest: str
    part: Part
    engine: Engine
    memory: int
    watch: Watch
    _records: dict[str, ShardRecord] = field(default_factory=dict)
    _totals: Totals = field(default_factory=Totals)

    def run(self, whole: Mapping[str, Any] | None, report: bool) -> dict[str, Any]:
        """Make what is missing and write the manifest; `whole`: the manifest that stood there already."""
        self.folder.remove_unfinished()
        write_json(self.folder, SPEC, {"spec_digest": self.digest, "spec": self.spec})
        files = []
        vocabulary = listed_files(self.spec, () if whole is None else whole["files"])
        for path, content in vocabulary.items():  # first: whoever goes on has the tokenizers
            written = write_bytes(self.folder, path, content)
            files.append({"path": path, "bytes": written.size, "sha256": written.sha256})
        if whole is not None:
            self._mend(whole)
            self._finish(whole, new=False)
            return dict(whole)
        duplicates = None
        if searches(self.spec):
            duplicates = self._dedup()
        else:
            self._make_all()
        files.append(write_totals(self.folder, self._totals))
        manifest = manifests.make_manifest(
            self.spec,
            (self._records[shard.path] for shard in self._shards()),
            files,
            part=self.part,
            dedup=duplicates,
        )
        if report and self.part == WHOLE:  # of a part it would say what no merged corpus holds
            with self.watch.times.of("report"):
                write_reports(self.folder, manifest, self._totals)
        self._finish(manifest, new=True)
        return manifest

    def _finish(self, manifest: Mapping[str, Any], *, new: bool) -> None:
        self.folder.remove_unfinished()  # of workers that were lost on the way
        manifests.write_manifest(self.folder, manifest, new=new)

    def _shards(self) -> Iterator[Shard]:
        return plan(self.spec, self.part)

    def _make_all(self) -> None:
        """All shards, in one pass."""
        evals = None
        if self.spec["dedup"]["mode"] == "disjoint":
            evals = eval_prints(
                self.spec, self.digest, self.folder, self.engine, self.memory, self.watch.on_step
            )
        job = functools.partial(make_shard, self.spec, self.digest, Changes(), self.folder, evals=evals)
        self._stage(job, lambda result: True, last=True)

    def _dedup(self) -> dict[str, Any]:
        """All shards; then those again in which an example must go. Returns what the manifest says of it."""
        if self.folder.size(OUTCOME) is None:
            job = functools.partial(make_shard, self.spec, self.digest, None, self.folder)
            self._stage(job, self._has_prints, last=False)
            others = against_prints(self.spec, self.folder, self.engine, self.watch.on_step)
            standing = find_duplicates(
                self.spec, self.folder, self.engine, others, self.memory, self.watch.on_step
            )
        else:
            standing = read_json(self.folder, OUTCOME)
        outcome = Outcome.of(self.spec, self.folder, standing)
        job = functools.partial(_finish_shard, self.spec, self.digest, outcome, self.folder)
        self._stage(job, lambda result: result.final, last=True)
        splits: dict[str, Any] = standing["splits"]
        return splits

    def _has_prints(self, result: ShardResult) -> bool:
        """Whether the fingerprints of a shard stand beside its record."""
        path = prints_path(result.record.path)
        return not result.final and self.folder.size(path) == prints_size(result.record.count)

    def _stage(
        self, job: Callable[[Shard], ShardResult], accept: Callable[[ShardResult], bool], *, last: bool
    ) -> None:
        """Run `job` on every shard that is not there already in a form that is accepted.

        last: the shards are then what the corpus holds, and are counted.
        """
        fresh, missing = set(self._records), []
        with ThreadPoolExecutor(4 * available_cores()) as pool:  # reading records mostly waits
            look = functools.partial(self._found, accept, fresh)
            for shard, result in zip(self._shards(), pool.map(look, self._shards()), strict=True):
                if result is None:
                    missing.append(shard)
                    continue
                if shard.path not in fresh:
                    self.watch.on_shard(result.record, True)
                self._take(result, last)
        for number, result in enumerate(self.engine.map(job, missing), 1):
            before = self._records.get(result.record.path)
            self._check_made(result, None)
            self._take(result, last)
            if before is None:
                self.watch.on_shard(result.record, False)
            else:
                self.watch.on_step("shards without duplicates", number, len(missing))

    def _found(
        self, accept: Callable[[ShardResult], bool], fresh: set[str], shard: Shard
    ) -> ShardResult | None:
        """The record of a shard that stands already, if it is accepted and the file is what it says."""
        result = finished_shard(self.folder, shard, self.digest)
        if result is None or not accept(result):
            return None
        return (
            result if shard.path in fresh or is_intact(self.folder, result.record, _where(result)) else None
        )

    def _take(self, result: ShardResult, last: bool) -> None:
        self._records[result.record.path] = result.record
        if last:
            self._totals.add(result.record.dataset, result.record.split, result.before, result.after)

    def _check_made(self, result: ShardResult, before: str | None) -> None:
        """OstracaError where a worker's file is not here, or is not what stood there before."""
        record = result.record
        if self.folder.size(_where(result)) != record.bytes:
            raise OstracaError(
                f"{self.folder}/{record.path}: was made by a worker but is not here; "
                "out= must be a folder that all nodes share"
            )
        if before is not None and before != record.content_digest:
            raise OstracaError(
                f"{self.folder}/{record.path}: regenerated, its content digest is {record.content_digest}, "
                f"not {before} as before; the manifest is left as it was: run `ostraca verify`"
            )

    def _mend(self, whole: Mapping[str, Any]) -> None:
        """Make those shards of a whole corpus again that are gone or damaged, and its statistics."""
        listed = {record["path"]: ShardRecord(split=split, **record) for split, record in records_of(whole)}
        missing = []
        with ThreadPoolExecutor(available_cores()) as pool:
            # In the plan's order, which is not the manifest's.
            planned = [listed[shard.path] for shard in self._shards()]
            intact = pool.map(lambda record: is_intact(self.folder, record, record.path), planned)
            for shard, good in zip(self._shards(), intact, strict=True):
                if good:
                    self.watch.on_shard(listed[shard.path], True)
                else:
                    missing.append(shard)
        if missing and whole["format_version"] != FORMAT_VERSION:
            raise OstracaError(
                f"{self.folder}/{missing[0].path}: is gone or damaged, and this corpus is of manifest format "
                f"{whole['format_version']}, of which ostraca writes no shards any more: mend it with the "
                f"release that built it, or build it anew: ostraca build manifest={self.folder} out=DIR"
            )
        changes = {
            shard.path: Changes.parse(listed[shard.path].changes, shard.count)
            for shard in missing
            if listed[shard.path].changes
        }
        job = functools.partial(_mend_shard, self.spec, self.digest, changes, self.folder)
        for result in self.engine.map(job, missing):
            before = listed[result.record.path]
            self._check_made(result, before.content_digest)
            self._records[result.record.path] = result.record
            self.watch.on_shard(result.record, False)
        if are_lost(self.folder, whole):
            changed = {path: record.changes for path, record in listed.items() if record.changes}
            count = functools.partial(count_shard, self.spec, changed)
            for counted in self.engine.map(count, list(self._shards())):
                self._totals.add_all(counted)
            write_totals(self.folder, self._totals)
        for _, record in records_of(whole):
            again = self._records.get(record["path"])
            if again is not None:  # other libraries may have written other bytes
                record.clear()
                record.update({k: v for k, v in again.as_dict().items() if k != "split"})


def _finish_shard(
    spec: Mapping[str, Any], digest: str, outcome: Outcome, folder: Folder, shard: Shard
) -> ShardResult:
    """A shard as it stays: regenerated without its duplicates, or, where it has none, the one put aside."""
    changes = outcome.changes(folder, shard.path)
    if changes is not None:
        result = make_shard(spec, digest, changes, folder, shard)
        folder.remove(aside_path(shard.path))
        return result
    before = finished_shard(folder, shard, digest)
    if before is None:
        return make_shard(spec, digest, Changes(), folder, shard)
    if folder.size(aside_path(shard.path)) is not None:
        folder.move(aside_path(shard.path), shard.path)
    elif not is_intact(folder, before.record, shard.path):  # else it was moved, and its record not written
        return make_shard(spec, digest, Changes(), folder, shard)
    result = dataclasses.replace(before, final=True)
    write_record(folder, shard, digest, result)
    return result


def _where(result: ShardResult) -> str:
    """Where the file of a shard stands."""
    return result.record.path if result.final else aside_path(result.record.path)


def _mend_shard(
    spec: Mapping[str, Any], digest: str, changes: Mapping[str, Changes], folder: Folder, shard: Shard
) -> ShardResult:
    """A shard that a whole corpus has lost."""
    return make_shard(spec, digest, changes.get(shard.path, Changes()), folder, shard)


def _check_part(spec: Mapping[str, Any], part: Part) -> None:
    if not isinstance(part, tuple) or [*map(type, part)] != [int, int] or not 1 <= part[0] <= part[1]:
        raise ConfigError(
            f"part={shown(part)} must be (number, of), e.g. (2, 8) for the second of eight parts"
        )
    if part != WHOLE and searches(spec):
        raise ConfigError(
            f"part={part[0]}/{part[1]}: duplicates can only be found where all examples are; "
            "build the whole corpus at once, or set dedup.mode=disjoint or off"
        )
    if part != WHOLE and not any(plan(spec, part)):
        raise ConfigError(
            f"part={part[0]}/{part[1]}: no shard falls into it; use fewer parts, or smaller shards "
            "(shard_tokens)"
        )
