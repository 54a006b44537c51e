"""Ways to edit a manifest: any value in it, signed anew or not, and manifests that agree with themselves."""

from __future__ import annotations

import copy
import hashlib
import json
import random
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import zstandard
from conftest import make_spec
from harness.hostile import Case

from ostraca.pipeline.build.build import build
from ostraca.pipeline.corpus import manifest as manifests
from ostraca.pipeline.corpus import manifest_parts
from ostraca.pipeline.corpus.manifest import make_manifest, read_manifest
from ostraca.pipeline.corpus.records import ShardRecord, sums_of_changes
from ostraca.pipeline.spec.check import spec_digest
from ostraca.pipeline.spec.shards import plan

Plain = dict[str, Any]

GRAMMAR = """11 -> 9 10 9 | 10 10 9 | 9 9 10
9 -> 7 8 | 8 7 8 | 7 7
10 -> 8 8 | 7 8 7 | 8 7
7 -> 1 2 | 3 1 | 2 2 3
8 -> 2 3 | 1 1 2 | 3 3
"""
DATASETS: dict[str, Any] = {
    "depo": {"task": "depo", "config": {"N": 8}},
    "lano": {"task": "lano", "config": {"grammar": GRAMMAR}},
    "mano": {"task": "mano", "config": {"L": 3}},
    "capo": {"task": "capo", "config": {"num_people": 9, "bio": "tokens"}},
}
FORMS: dict[str, Plain] = {
    "parquet": {"dedup": {"mode": "redraw"}},
    "tar.zst packed": {
        "format": "webdataset",
        "compression": "zstd",
        "pack": {"length": 512, "mode": "whole"},
        "dedup": {"mode": "drop"},
    },
    "records in files": {"dedup": {"mode": "redraw", "key": "content"}},
}


def build_form(form: str, root: Path) -> Path:
    """A corpus of three datasets (and capo, where nothing is drawn again) of some shards each."""
    extra = FORMS[form]
    names = [name for name in DATASETS if name != "capo" or extra["dedup"]["mode"] != "redraw"]
    spec = make_spec(train=60, test=8, shard_tokens=2_000, vocabulary="shared", **extra)
    splits = {"train": {"examples": 60}, "test": {"examples": 8}}
    spec["datasets"] = {name: {**DATASETS[name], "splits": splits} for name in names}
    inline = 100 if form == "records in files" else manifests.INLINE_BYTES
    kept = manifests.INLINE_BYTES, manifest_parts.PART_BYTES
    manifests.INLINE_BYTES, manifest_parts.PART_BYTES = inline, min(kept[1], 20 * inline)
    try:
        build({**spec, "row_group_tokens": 700}, root, engine="local")
    finally:
        manifests.INLINE_BYTES, manifest_parts.PART_BYTES = kept
    return root


# ---- any value


def values(old: Any) -> list[Any]:
    """What may stand in a value's place: of another type, impossible, huge, or nearly right."""
    odd = [None, True, 0, 1, -5, 2.5, 1e300, 2**31, 2**63, 10**18, 10**30, float("nan"), float("inf")]
    odd += ["", "3", "x" * 999, "\x00", "é\n", "../../x", "/etc/passwd", [], {}, [old], {"x": old}, [[]] * 50]
    if isinstance(old, int) and not isinstance(old, bool):
        odd += [old + 1, old - 1, -old, old * 1000, float(old), str(old)]
    if isinstance(old, str):
        odd += [old + "0", old[1:], old[::-1], old.upper(), f" {old}"]
    if isinstance(old, list):
        odd += [old[1:], old[::-1], old + old, [*old, None]]
    if isinstance(old, dict):
        keys = list(old)
        odd += [{key: old[key] for key in keys[1:]}, {**old, "more": 1}]
        odd += [dict.fromkeys(keys), list(old.values())]
    return [each for each in odd if not _same(each, old)]


def _same(one: Any, other: Any) -> bool:
    return type(one) is type(other) and one == other


def places(plain: Any, above: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The keys that lead to every value, lists' elements too."""
    if above:
        yield above
    pairs = plain.items() if isinstance(plain, dict) else enumerate(plain) if isinstance(plain, list) else ()
    for key, value in pairs:
        yield from places(value, (*above, key))


def value_at(plain: Any, keys: tuple[Any, ...]) -> Any:
    for key in keys:
        plain = plain[key]
    return plain


def replaced(plain: Plain, keys: tuple[Any, ...], new: Any) -> Plain:
    """A copy in which another value stands there."""
    plain = copy.deepcopy(plain)
    value_at(plain, keys[:-1])[keys[-1]] = new
    return plain


def write(plain: Any, root: Path) -> None:
    (root / "manifest.json").write_text(json.dumps(plain))


def edit(keys: tuple[Any, ...], new: Any, signed: bool, root: Path) -> None:
    """One value of the manifest; signed: with the digest of what its spec then is."""
    plain = replaced(json.loads((root / "manifest.json").read_text()), keys, new)
    if signed:
        try:
            plain["spec_digest"] = spec_digest(plain["spec"])
        except Exception:  # no digest can be had of it
            plain["spec_digest"] = hashlib.sha256(json.dumps(plain["spec"]).encode()).hexdigest()
    write(plain, root)


def edits(corpus: Path, count: int, seed: int = 0) -> Iterator[Case]:
    """Values replaced at random: half of all, half of the spec's, signed anew."""
    rng = random.Random(seed)
    plain = json.loads((corpus / "manifest.json").read_text())
    all_places = list(places(plain))
    of_spec = [keys for keys in all_places if keys[0] == "spec" and len(keys) > 1]
    for number in range(count):
        signed = bool(number % 2)
        keys = rng.choice(of_spec if signed else all_places)
        new = rng.choice(values(value_at(plain, keys)))
        yield Case(
            name=f"{'/'.join(map(str, keys))} = {new!r:.50}{', signed' * signed}",
            damage=partial(edit, keys, new, signed),
        )


# ---- records in files of their own


def edit_records(change: Callable[[list[bytes]], list[bytes]], root: Path) -> None:
    """The lines of the first file of train's records, which is then listed as it is."""
    path = min((root / "manifest").glob("train-*"))
    lines = zstandard.ZstdDecompressor().decompressobj().decompress(path.read_bytes()).splitlines()
    data = zstandard.compress(b"".join(line + b"\n" for line in change(lines)))
    relist(path, data, root)


def relist(path: Path, data: bytes, root: Path) -> None:
    """Other bytes for a file of records, listed with what they are."""
    path.write_bytes(data)
    plain = json.loads((root / "manifest.json").read_text())
    for entry in plain["splits"].values():
        for file in entry["shards"]["files"]:
            if file["path"] == path.relative_to(root).as_posix():
                file |= {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    write(plain, root)


def record_edits(corpus: Path, count: int, seed: int = 0) -> Iterator[Case]:
    """A value of a record in a file."""
    rng = random.Random(seed)
    path = min((corpus / "manifest").glob("train-*"))
    lines = zstandard.ZstdDecompressor().decompressobj().decompress(path.read_bytes()).splitlines()
    for _ in range(count):
        number = rng.randrange(len(lines))
        record = json.loads(lines[number])
        keys = rng.choice(list(places(record)))
        new = rng.choice(values(value_at(record, keys)))
        line = json.dumps(replaced(record, keys, new)).encode()
        yield Case(
            name=f"record {number}: {'/'.join(map(str, keys))} = {new!r:.50}",
            damage=partial(
                edit_records, lambda lines, at=number, new=line: [*lines[:at], new, *lines[at + 1 :]]
            ),
        )


# ---- whole manifests that agree with themselves


def forge(change: Callable[[Plain], object], sizes: bool, root: Path) -> None:
    """Another spec, and the manifest of its corpus: shards that there are stand for those of the plan.

    sizes: its records tell of shards as large as they would be, else as large as the files are. A shard of as
    many examples as before keeps what was drawn again in it: to tell of none is no change of the spec.
    """
    manifest = read_manifest(root)
    true = {record["path"]: record for _, record in manifests.records_of(manifest)}
    spec = copy.deepcopy(manifest["spec"])
    change(spec)
    records = []
    for number, shard in enumerate(plan(spec)):
        record = true.get(shard.path) or list(true.values())[number % len(true)]
        as_before = record["path"] == shard.path and record["count"] == shard.count
        records.append(
            ShardRecord(
                **{
                    **record,
                    "dataset": shard.dataset,
                    "split": shard.split,
                    "path": shard.path,
                    "first_index": shard.first_index,
                    "count": shard.count,
                    "rows": shard.count,
                    "changes": record.get("changes", "") if as_before else "",
                    **({"tokens": 9 * shard.count, "bytes": shard.count} if sizes else {}),
                }
            )
        )
        if number > 2_000:
            break
    dedup = None
    if spec["dedup"]["mode"] != "off":
        dedup = sums_of_changes([(record.split, record.as_dict()) for record in records])
    write(make_manifest(spec, records, manifest["files"], dedup=dedup), root)


def _of_splits(**new: Any) -> Callable[[Plain], object]:
    def change(spec: Plain) -> None:
        for entry in spec["datasets"].values():
            for split in entry["splits"].values():
                split.update(new)

    return change


def _of_configs(dataset: str, **new: Any) -> Callable[[Plain], object]:
    def change(spec: Plain) -> None:
        for split in spec["datasets"][dataset]["splits"].values():
            split["config"].update(new)

    return change


HUGE = (10**6, 10**9, 10**12, 10**15, 2**62, 10**18, 10**30)
FORGED: dict[str, Callable[[Plain], object]] = {
    **{f"row groups of {many}": _of_splits(row_group_examples=many) for many in HUGE},
    **{
        f"one shard of {many}": _of_splits(examples=many, shard_examples=many, row_group_examples=many)
        for many in HUGE
    },
    **{
        f"one shard of {many}, groups as they are": _of_splits(examples=many, shard_examples=many)
        for many in HUGE
    },
    **{f"{many} examples": _of_splits(examples=many) for many in HUGE},
    **{f"depo N={many}": _of_configs("depo", N=many) for many in (3, 10**3, 10**4, 10**6, 10**9, 10**18)},
    **{f"depo K={many}": _of_configs("depo", K=many) for many in (1, 10**6, 2**31, 10**18)},
    **{f"depo M={many}": _of_configs("depo", M=many) for many in (1, 10**6, 10**18)},
    **{f"mano L={many}": _of_configs("mano", L=many) for many in (1, 10**3, 10**6, 10**18)},
    "a grammar of one sentence of 65,536": _of_configs(
        "lano", grammar="".join(f"{17 - n} -> {16 - n} {16 - n}\n" for n in range(16))
    ),
    "another seed": lambda spec: spec.update(seed=spec["seed"] + 1),
    "another name": lambda spec: spec.update(name="other"),
    "no pack": lambda spec: spec.update(pack=None),
    "a pack": lambda spec: spec.update(pack={"length": 4, "mode": "concat"}),
    "a pack of 2^30": lambda spec: spec.update(pack={"length": 2**30, "mode": "concat"}),
    "a pack of 10^18": lambda spec: spec.update(pack={"length": 10**18, "mode": "concat"}),
    "no dedup": lambda spec: spec.update(dedup={"mode": "off"}),
    "the vocabulary as published": lambda spec: spec.update(vocabulary="published"),
    "datasets swapped": lambda spec: spec.update(
        datasets=dict(zip(spec["datasets"], list(spec["datasets"].values())[::-1], strict=True))
    ),
    "a split more": lambda spec: [
        entry["splits"].update(other=copy.deepcopy(entry["splits"]["train"]))
        for entry in spec["datasets"].values()
    ],
}


def forgeries(sizes: bool) -> list[Case]:
    """Specs that ask for very much or are not the shards', see `forge`."""
    return [
        Case(name=f"forged: {name}", damage=partial(_forged, change, sizes))
        for name, change in FORGED.items()
    ]


def _forged(change: Callable[[Plain], object], sizes: bool, root: Path) -> None:
    """A spec of which no manifest can be made is signed, and the rest left."""
    try:
        forge(change, sizes, root)
    except Exception:
        plain = json.loads((root / "manifest.json").read_text())
        change(plain["spec"])
        try:
            plain["spec_digest"] = spec_digest(plain["spec"])
        except Exception:
            plain["spec_digest"] = "0" * 64
        write(plain, root)


# ---- what is no manifest


def _text(text: str | bytes, root: Path) -> None:
    (root / "manifest.json").write_bytes(text.encode() if isinstance(text, str) else text)


def _around(before: str, after: str, root: Path) -> None:
    text = (root / "manifest.json").read_text()
    _text(text.replace('"name"', f'{before}"name"', 1) + after, root)


RAW: dict[str, Callable[[Path], object]] = {
    "empty": partial(_text, ""),
    "a brace": partial(_text, "{"),
    "{}": partial(_text, "{}"),
    "null": partial(_text, "null"),
    "a number": partial(_text, "5"),
    "a list": partial(_text, "[]"),
    "deep lists": partial(_text, "[" * 100_000 + "]" * 100_000),
    "deep objects": partial(_text, '{"a":' * 100_000 + "1" + "}" * 100_000),
    "a deep value": partial(_around, f'"deep": {"[" * 100_000}{"]" * 100_000}, ', ""),
    "a key twice": partial(_around, '"spec": {}, ', ""),
    "NaN": partial(_around, '"x": NaN, ', ""),
    "a number of a million digits": partial(_around, f'"x": {"9" * 10**6}, ', ""),
    "half a character": partial(_around, '"x": "\\ud800", ', ""),
    "more behind": partial(_around, "", "{}"),
    "a NUL behind": partial(_around, "", "\0"),
    "no UTF-8": partial(_text, b"\xff\xfe{\0}\0"),
    "zeros": partial(_text, b"\0" * 10_000),
}


def raw() -> list[Case]:
    return [Case(name=f"raw: {name}", damage=damage) for name, damage in RAW.items()]
