"""`build`: from a spec to a whole corpus; killed at any moment, the same call goes on."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from ...tasks.errors import ConfigError, OstracaError, shown
from ..corpus import manifest as manifests
from ..corpus.changes import Changes
from ..corpus.layout import LOCK, SPEC, STATE, aside_path, prints_path, record_path
from ..corpus.manifest_checks import require_records
from ..corpus.records import ShardRecord, records_of
from ..corpus.tokenizer_copies import listed_files
from ..corpus.totals import Totals, are_lost, write_totals
from ..report.samples_read import write_reports
from ..spec.check import check_spec, spec_digest
from ..spec.dedup import check_memory, searches
from ..spec.differences import first_difference
from ..spec.form import is_spec
from ..spec.shards import WHOLE, Part, Shard, plan
from ..spec.versions import take_versions
from ..store.disk import free_bytes, refuse_where_full
from ..store.fence import Fence
from ..store.folder import Folder, read_json, write_bytes, write_json
from ..store.local import LocalFolder
from ..store.open import open_folder
from .dedup.against import against_prints, with_against
from .dedup.search import OUTCOME, changed_shards, changes_of, find_duplicates, ranked
from .jobs.engine import Engine, available_cores, check_engine, open_engine
from .jobs.times import Times
from .shards.disjoint import eval_prints
from .shards.prints import prints_size
from .shards.shard import Made, count_shard, make_shard, write_record
from .shards.warm import warm_kernels


def build(
    spec: Mapping[str, Any],
    out: Path | str,
    *,
    engine: str = "ray",
    workers: int | None = None,
    ray: Mapping[str, Any] | None = None,
    part: Part = WHOLE,
    memory: int | str | None = None,
    report: bool = False,
    mend: bool = False,
    require_room: Callable[[Folder, Mapping[str, Any], Part, int], None] | None = None,
    times: Times | None = None,
    on_shard: Callable[[ShardRecord, bool], None] = lambda record, kept: None,
    on_step: Callable[[str, int, int], None] = lambda what, done, of: None,
) -> dict[str, Any]:
    """Build the corpus of `spec` in the folder `out` (a path or a URL of fsspec) and return its manifest.

    A folder in which the same build was begun is finished, its intact shards (sha256) kept. In one that
    holds the corpus already, shards that are gone or of another size are made again, with `mend` all that
    are not what the manifest says, byte for byte; else it is left as it is. Any other folder that is not
    empty is refused.

    workers, ray: see `pipeline.build.jobs.engine`. part: build only this part, for `ostraca merge`. memory:
    bytes that deduplication may take. report: write the dataset card, report.html and croissant.json too, of
    no part.
    require_room(folder, spec, part, workers): OstracaError where the disk is too small (None: not looked at).
    times: where it is counted what the time went to.
    `on_shard(record, kept)` is called once for every shard, in any order; kept: it was there already.
    `on_step(what, done, of)` is called for every step of deduplication.
    """
    folder = open_folder(out)
    complete = check_spec(manifests.with_own_tokenizers(folder, with_against(spec)))
    check_engine(engine, workers, ray)
    _check_part(complete, part)
    budget = check_memory(memory)
    digest = spec_digest(complete)
    whole = _refuse_other(folder, complete, part, locked=False)
    gone = [] if whole is None else _missing(folder, whole)
    if whole is not None and not mend and not gone and not _left_behind(folder):
        return whole
    if require_room is not None and whole is None:
        require_room(folder, complete, part, workers or available_cores())
    elif require_room is not None:
        refuse_where_full(folder, sum(file["bytes"] for file in gone), free_bytes(folder))
    with folder.lock(LOCK) as owner:
        folder = folder.fenced(Fence(path=LOCK, owner=owner))
        # Since the lock is ours: another build may have finished a moment ago.
        whole = _refuse_other(folder, complete, part, locked=True)
        if whole is None or mend or _missing(folder, whole):
            times = times or Times()
            with open_engine(
                functools.partial(warm_kernels, complete),
                engine=engine,
                workers=workers,
                ray=ray,
                times=times,
            ) as runner:
                work = _Build(folder, complete, digest, part, runner, budget, times, on_shard, on_step)
                whole = work.run(whole, report)
        else:
            folder.remove_unfinished()
        folder.remove_all(STATE)
    return whole


class _Build:
    """One call of `build` that holds the lock."""

    def __init__(
        self,
        folder: Folder,
        spec: dict[str, Any],
        digest: str,
        part: Part,
        engine: Engine,
        memory: int,
        times: Times,
        on_shard: Callable[[ShardRecord, bool], None],
        on_step: Callable[[str, int, int], None],
    ) -> None:
        self._folder, self._spec, self._digest, self._part = folder, spec, digest, part
        self._engine, self._memory, self._times = engine, memory, times
        self._on_shard, self._on_step = on_shard, on_step
        self._records: dict[str, ShardRecord] = {}
        self._totals = Totals()

    def run(self, whole: Mapping[str, Any] | None, report: bool) -> dict[str, Any]:
        """Make what is missing and write the manifest; `whole`: the manifest that stood there already."""
        self._folder.remove_unfinished()
        write_json(self._folder, SPEC, {"spec_digest": self._digest, "spec": self._spec})
        files = []
        vocabulary = listed_files(self._spec, () if whole is None else whole["files"])
        for path, content in vocabulary.items():  # first: whoever goes on has the tokenizers
            written = write_bytes(self._folder, path, content)
            files.append({"path": path, "bytes": written.size, "sha256": written.sha256})
        if whole is not None:
            self._mend(whole)
            self._finish(whole, new=False)
            return dict(whole)
        found = None
        if searches(self._spec):
            found = self._dedup()
        else:
            self._make_all()
        files.append(write_totals(self._folder, self._totals))
        manifest = manifests.make_manifest(
            self._spec,
            (self._records[shard.path] for shard in self._shards()),
            files,
            part=self._part,
            dedup=found,
        )
        if report and self._part == WHOLE:  # of a part it would say what no merged corpus holds
            with self._times.of("report"):
                write_reports(self._folder, manifest, self._totals)
        self._finish(manifest, new=True)
        return manifest

    def _finish(self, manifest: Mapping[str, Any], *, new: bool) -> None:
        self._folder.remove_unfinished()  # of workers that were lost on the way
        manifests.write_manifest(self._folder, manifest, new=new)

    def _shards(self) -> Iterator[Shard]:
        return plan(self._spec, self._part)

    def _make_all(self) -> None:
        """All shards, in one pass."""
        evals = None
        if self._spec["dedup"]["mode"] == "disjoint":
            evals = eval_prints(
                self._spec, self._digest, self._folder, self._engine, self._memory, self._on_step
            )
        job = functools.partial(make_shard, self._spec, self._digest, Changes(), self._folder, evals=evals)
        self._stage(job, lambda made: True, last=True)

    def _dedup(self) -> dict[str, Any]:
        """All shards; then those again in which an example must go. Returns what the manifest says of it."""
        order = ranked(self._spec)
        if self._folder.size(OUTCOME) is None:
            job = functools.partial(make_shard, self._spec, self._digest, None, self._folder)
            self._stage(job, self._has_prints, last=False)
            others = against_prints(self._spec, self._folder, self._engine, self._on_step)
            outcome = find_duplicates(
                self._spec, self._folder, self._engine, others, self._memory, self._on_step
            )
        else:
            outcome = read_json(self._folder, OUTCOME)
        changed = {order[rank].path: rank for rank in changed_shards(self._folder, outcome, order)}
        job = functools.partial(
            _finish_shard, self._spec, self._digest, outcome, order, changed, self._folder
        )
        self._stage(job, lambda made: made.final, last=True)
        splits: dict[str, Any] = outcome["splits"]
        return splits

    def _has_prints(self, made: Made) -> bool:
        """Whether the fingerprints of a shard stand beside its record."""
        path = prints_path(made.record.path)
        return not made.final and self._folder.size(path) == prints_size(made.record.count)

    def _stage(self, job: Callable[[Shard], Made], accept: Callable[[Made], bool], *, last: bool) -> None:
        """Run `job` on every shard that is not there already in a form that is accepted.

        last: the shards are then what the corpus holds, and are counted.
        """
        fresh, missing = set(self._records), []
        with ThreadPoolExecutor(4 * available_cores()) as pool:  # reading records mostly waits
            look = functools.partial(self._found, accept, fresh)
            for shard, made in zip(self._shards(), pool.map(look, self._shards()), strict=True):
                if made is None:
                    missing.append(shard)
                    continue
                if shard.path not in fresh:
                    self._on_shard(made.record, True)
                self._take(made, last)
        for number, made in enumerate(self._engine.map(job, missing), 1):
            before = self._records.get(made.record.path)
            self._check_made(made, None)
            self._take(made, last)
            if before is None:
                self._on_shard(made.record, False)
            else:
                self._on_step("shards without duplicates", number, len(missing))

    def _found(self, accept: Callable[[Made], bool], fresh: set[str], shard: Shard) -> Made | None:
        """The record of a shard that stands already, if it is accepted and the file is what it says."""
        made = _record(self._folder, shard, self._digest)
        if made is None or not accept(made):
            return None
        return made if shard.path in fresh or _is_intact(self._folder, made.record, _where(made)) else None

    def _take(self, made: Made, last: bool) -> None:
        self._records[made.record.path] = made.record
        if last:
            self._totals.add(made.record.dataset, made.record.split, made.before, made.after)

    def _check_made(self, made: Made, before: str | None) -> None:
        """OstracaError where a worker's file is not here, or is not what stood there before."""
        record = made.record
        if self._folder.size(_where(made)) != record.bytes:
            raise OstracaError(
                f"{self._folder}/{record.path}: was made by a worker but is not here; "
                "out= must be a folder that all nodes share"
            )
        if before is not None and before != record.content_digest:
            raise OstracaError(
                f"{self._folder}/{record.path}: made again its content digest is {record.content_digest}, "
                f"not {before} as before; the manifest is left as it was: run `ostraca verify`"
            )

    def _mend(self, whole: Mapping[str, Any]) -> None:
        """Make those shards of a whole corpus again that are gone or damaged, and its statistics."""
        listed = {record["path"]: ShardRecord(split=split, **record) for split, record in records_of(whole)}
        missing = []
        with ThreadPoolExecutor(available_cores()) as pool:
            # In the plan's order, which is not the manifest's.
            planned = [listed[shard.path] for shard in self._shards()]
            intact = pool.map(lambda record: _is_intact(self._folder, record, record.path), planned)
            for shard, good in zip(self._shards(), intact, strict=True):
                if good:
                    self._on_shard(listed[shard.path], True)
                else:
                    missing.append(shard)
        changes = {
            shard.path: Changes.parse(listed[shard.path].changes, shard.count)
            for shard in missing
            if listed[shard.path].changes
        }
        job = functools.partial(_mend_shard, self._spec, self._digest, changes, self._folder)
        for made in self._engine.map(job, missing):
            before = listed[made.record.path]
            self._check_made(made, before.content_digest)
            self._records[made.record.path] = made.record
            self._on_shard(made.record, False)
        if are_lost(self._folder, whole):
            changed = {path: record.changes for path, record in listed.items() if record.changes}
            count = functools.partial(count_shard, self._spec, changed)
            for counted in self._engine.map(count, list(self._shards())):
                self._totals.add_all(counted)
            write_totals(self._folder, self._totals)
        for _, record in records_of(whole):
            again = self._records.get(record["path"])
            if again is not None:  # other libraries may have written other bytes
                record.clear()
                record.update({k: v for k, v in again.as_dict().items() if k != "split"})


def _finish_shard(
    spec: Mapping[str, Any],
    digest: str,
    outcome: Mapping[str, Any],
    order: tuple[Shard, ...],
    changed: Mapping[str, int],
    folder: Folder,
    shard: Shard,
) -> Made:
    """A shard as it stays: made again without its duplicates, or, where it has none, the one put aside."""
    if shard.path in changed:
        changes = changes_of(folder, outcome, order, changed[shard.path])
        made = make_shard(spec, digest, changes, folder, shard)
        folder.remove(aside_path(shard.path))
        return made
    before = _record(folder, shard, digest)
    if before is None:
        return make_shard(spec, digest, Changes(), folder, shard)
    if folder.size(aside_path(shard.path)) is not None:
        folder.move(aside_path(shard.path), shard.path)
    elif not _is_intact(folder, before.record, shard.path):  # else it was moved, and its record not written
        return make_shard(spec, digest, Changes(), folder, shard)
    made = dataclasses.replace(before, final=True)
    write_record(folder, shard, digest, made)
    return made


def _where(made: Made) -> str:
    """Where the file of a shard stands."""
    return made.record.path if made.final else aside_path(made.record.path)


def _mend_shard(
    spec: Mapping[str, Any], digest: str, changes: Mapping[str, Changes], folder: Folder, shard: Shard
) -> Made:
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


def _missing(folder: Folder, manifest: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The records of a whole corpus's files that are gone or of another size than when it was built."""
    records = [*(record for _, record in records_of(manifest)), *manifest["files"]]
    with ThreadPoolExecutor(4 * available_cores()) as pool:  # asking a store mostly waits
        sizes = pool.map(folder.size, (record["path"] for record in records))
        return [record for record, size in zip(records, sizes, strict=True) if size != record["bytes"]]


def _left_behind(folder: Folder) -> bool:
    """Whether a build that wrote its manifest was killed before it had cleared away."""
    if isinstance(folder, LocalFolder):
        state = folder.root / STATE
        if state.is_dir() and not any(state.iterdir()):  # killed when only the folder itself was left
            return True
    return any(name != LOCK for name in folder.names(STATE))


def _record(folder: Folder, shard: Shard, digest: str) -> Made | None:
    """The record of a shard that an earlier call finished, if it did."""
    try:
        if folder.size(record_path(shard)) is None:
            return None
        plain = read_json(folder, record_path(shard))
        made = Made.from_dict(plain)
        given = (plain["spec_digest"], made.record.path, made.record.first_index, made.record.count)
        wanted = (digest, shard.path, shard.first_index, shard.count)
        return made if given == wanted else None
    except (OstracaError, ValueError, TypeError, KeyError, AttributeError):
        return None


def _is_intact(folder: Folder, record: ShardRecord, path: str) -> bool:
    """Whether the shard's file stands at `path` with every byte that the record counts and hashes."""
    try:
        return folder.size(path) == record.bytes and folder.sha256(path) == record.sha256
    except OstracaError:
        return False


def _refuse_other(
    folder: Folder, spec: Mapping[str, Any], part: Part, *, locked: bool
) -> dict[str, Any] | None:
    """The manifest of the whole corpus in `folder`, or None where this build may begin or go on there.

    Refuses a folder that holds, or was begun as, the corpus of another spec, or anything of the user's.
    """
    if folder.size(manifests.NAME) is not None:
        manifest = manifests.read_manifest(folder, parts=True, versions=take_versions)
        _refuse_spec(folder, manifest["spec"], spec, "holds")
        require_records(folder, manifest)
        if manifests.part_of(manifest) != part:
            held = manifests.part_of(manifest)
            raise OstracaError(
                f"{folder}: holds part {held[0]}/{held[1]} of this corpus, not part {part[0]}/{part[1]}; "
                "choose another out="
            )
        return manifest
    if folder.size(SPEC) is not None:
        try:
            other = read_json(folder, SPEC)["spec"]
            if not is_spec(other):
                raise TypeError("spec")
        except (OstracaError, KeyError, TypeError):
            raise OstracaError(
                f"{folder}/{SPEC}: cannot be read; remove {folder} or choose another out="
            ) from None
        if any(name.startswith(f"{STATE}/shards/") for name in folder.names(f"{STATE}/shards")):
            _refuse_spec(folder, other, spec, "was begun as")
        return None
    # A build that has not got to spec.json leaves its lock alone.
    names = (name for name in folder.names() if name != LOCK)
    # Another may be clearing away this very moment, its manifest written since we looked.
    stranger = next((name for name in names if locked or not name.startswith(f"{STATE}/")), None)
    if stranger is not None:
        raise ConfigError(
            f"{folder}: is not empty ({stranger.split('/')[0]} is there) and holds no corpus; "
            "choose another out="
        )
    return None


def _refuse_spec(folder: Folder, other: Mapping[str, Any], spec: Mapping[str, Any], how: str) -> None:
    digests = spec_digest(other), spec_digest(spec)
    if digests[0] != digests[1]:
        found = first_difference(other, spec)
        where = "" if found is None else f" ({f'{found.what} {found.where}'.strip()}"
        sides = "" if found is None else f": {found.path} there, {found.other} here)"
        raise ConfigError(
            f"{folder}: {how} the corpus with spec digest {digests[0]}, not the one asked for, {digests[1]}"
            f"{where}{sides}; choose another out= or remove that folder"
        )
