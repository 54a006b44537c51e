"""Promise 4, against an oracle: no example twice, none of an eval split in train, and all others stay."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from corpora import FORMATS, Rows, crowded, decoded, files_below
from oracles.dedup import Outcome, identities, settle

from loaders import CorpusSource, TokenStream
from pipeline.build import build
from pipeline.changes import Changes
from pipeline.dedup import counts, search, tail
from pipeline.dedup.against import with_against
from pipeline.diff import compare
from pipeline.export.command import export
from pipeline.manifest import read_manifest, records_of
from pipeline.plan import SUFFIXES
from pipeline.spec import check_spec
from pipeline.verify import reproduce, verify
from tasks.errors import ConfigError, OstracaError

SPLITS = {
    "train": {"examples": 420},
    "train_more": {"examples": 90},
    "test": {"examples": 80, "form": "test"},
    "valid": {"examples": 110},
}
TINY_DEPO = {"N": 3, "K": 2, "M": 1, "mini_vocab": 2}
GRAMMAR = "7 -> 5 6 | 6 5 | 5 5 6\n5 -> 1 | 1 1 | 2\n6 -> 1 | 1 2\n"
CASES: dict[str, dict[str, Any]] = {
    "mano 1": crowded({"m": ("mano", {"L": 1, "value_mod": 5})}, SPLITS),
    "mano 2": crowded({"m": ("mano", {"L": 2, "value_mod": 3})}, SPLITS),
    "mano 3": crowded({"m": ("mano", {"L": 3, "value_mod": 2, "knowledge_augment": False})}, SPLITS),
    "manos": crowded(
        {
            "b": ("mano", {"L": 2, "value_mod": 3}),
            "a": ("mano", {"L": 1, "value_mod": 3}),
            "c": ("mano", {"L": 2, "value_mod": 3, "bos_token_id": 70}),
        },
        SPLITS,
    ),
    "depo": crowded({"d": ("depo", TINY_DEPO)}, SPLITS),
    "brevo": crowded({"b": ("brevo", {"N": 3}), "other": ("brevo", {"N": 4, "max_in": 1})}, SPLITS),
    "lano": crowded(
        {"l": ("lano", {"grammar": GRAMMAR})},
        {name: {"examples": entry["examples"]} for name, entry in SPLITS.items()},
    ),
}
QUIET = 3, 60  # the rule for giving up, with less patience than in earnest


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spaces of unknown size are given up early, as the oracle is told too."""
    monkeypatch.setattr(counts, "QUIET", QUIET[0])
    monkeypatch.setattr(counts, "LEAST_QUIET", QUIET[1])


@pytest.fixture(scope="module")
def first_draws(tmp_path_factory: pytest.TempPathFactory) -> Callable[[dict[str, Any]], Rows]:
    """The rows of a spec built without deduplication; each is built once."""
    kept: dict[str, Rows] = {}

    def rows(spec: dict[str, Any]) -> Rows:
        plain = {**spec, "dedup": None}
        if repr(plain) not in kept:
            root = tmp_path_factory.mktemp("off") / "c"
            kept[repr(plain)] = decoded(root, build(plain, root, engine="local")["spec"])
        return kept[repr(plain)]

    return rows


def stays_in(root: Path) -> dict[tuple[str, str], dict[int, int]]:
    """Of each split, the indices that a manifest says stay, and from which attempt."""
    found: dict[tuple[str, str], dict[int, int]] = {}
    for split, record in records_of(read_manifest(root)):
        own = dict.fromkeys(range(record["count"]), 0)
        changes = Changes.parse(record.get("changes", ""), record["count"])
        own |= dict(zip(changes.places.tolist(), changes.attempts.tolist(), strict=True))
        dropped = set(changes.places[changes.attempts == 0].tolist())
        found.setdefault((record["dataset"], split), {}).update(
            {record["first_index"] + place: own[place] for place in own if place not in dropped}
        )
    return found


def check_is(root: Path, manifest: dict[str, Any], wanted: Outcome) -> None:
    """The corpus in `root` is what the oracle says, in its files and in its manifest."""
    assert manifest["dedup"] == wanted.counts
    assert stays_in(root) == wanted.attempts
    assert decoded(root, manifest["spec"]) == wanted.rows
    assert {name: len(rows) for name, rows in wanted.rows.items()} == {
        (each["dataset"], split): sum(
            other["rows"] for other in entry["shards"] if other["dataset"] == each["dataset"]
        )
        for split, entry in manifest["splits"].items()
        for each in entry["shards"]
    }


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("mode", ["drop", "redraw"])
@pytest.mark.parametrize("key", ["tokens", "content"])
def test_exactly_the_rows_of_the_oracle_stay(
    first_draws: Callable[[dict[str, Any]], Rows], tmp_path: Path, name: str, mode: str, key: str
) -> None:
    spec = {**CASES[name], "dedup": {"mode": mode, "key": key}}
    wanted = settle(check_spec(spec), first_draws(spec), quiet=QUIET)
    assert any(entry["dropped"] + entry["redrawn"] for entry in wanted.counts.values())
    manifest = build(spec, tmp_path / "c", engine="local", workers=2)
    check_is(tmp_path / "c", manifest, wanted)
    assert verify(tmp_path / "c", content=True) == []
    assert reproduce(tmp_path / "c")[1] == []
    names = identities(manifest["spec"], wanted.rows, key)
    assert len(names) == manifest["totals"]["rows"]  # so no two are the same


REDRAWN = {**CASES["manos"], "dedup": {"mode": "redraw", "key": "content"}}


@pytest.fixture(scope="module")
def redrawn(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """REDRAWN, built plainly."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(counts, "QUIET", QUIET[0])
        patch.setattr(counts, "LEAST_QUIET", QUIET[1])
        root = tmp_path_factory.mktemp("redrawn") / "c"
        return root, build(REDRAWN, root, engine="local")


def few_bytes(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    """Search for duplicates with so little memory that many ranges are needed."""
    import pipeline.build as module

    monkeypatch.setattr(module, "check_memory", lambda value: size)


@pytest.mark.parametrize("how", ["threads", "ray", "many ranges", "fixed ranges", "ranges of ray"])
def test_neither_engine_nor_memory_changes_a_byte(
    redrawn: tuple[Path, dict[str, Any]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
    how: str,
) -> None:
    root, manifest = redrawn
    engine: dict[str, Any] = {"engine": "local", "workers": 3}
    if "ray" in how:
        request.getfixturevalue("ray_session")
        engine = {"engine": "ray", "workers": 2}
    if "ranges" in how:
        few_bytes(monkeypatch, 3 * search.table_bytes(4000, 64))
    if how == "fixed ranges":
        monkeypatch.setattr(search, "count_ranges", lambda examples, memory, slots: 1 << 8)
    made = build(REDRAWN, tmp_path / "c", **engine)
    assert {**made, "created": 0} == {**manifest, "created": 0}
    assert files_below(tmp_path / "c") == files_below(root)


@pytest.mark.parametrize(
    ("examples", "window"), [(0, 1), (10**9, 1), (10**9, 512), (10**9, 7), (40, 512)], ids=str
)
def test_one_process_draws_the_rest_as_the_rounds_would(
    redrawn: tuple[Path, dict[str, Any]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    examples: int,
    window: int,
) -> None:
    """However soon the last rounds are left to one process, and however many it draws ahead."""
    monkeypatch.setattr(search, "TAIL_EXAMPLES", examples)
    monkeypatch.setattr(tail, "_LONGEST_WINDOW", window)
    root, manifest = redrawn
    made = build(REDRAWN, tmp_path / "c", engine="local")
    assert {**made, "created": 0} == {**manifest, "created": 0}
    assert files_below(tmp_path / "c") == files_below(root)


@pytest.mark.parametrize("changed", ["shard_tokens", "row_group_tokens", "tar", "tar.zst"])
def test_neither_sizes_nor_format_change_what_stays(
    redrawn: tuple[Path, dict[str, Any]], tmp_path: Path, changed: str
) -> None:
    spec = {
        "shard_tokens": {**REDRAWN, "shard_tokens": 1_500},
        "row_group_tokens": {**REDRAWN, "row_group_tokens": 300},
        "tar": {**REDRAWN, "format": "webdataset"},
        "tar.zst": {**REDRAWN, "format": "webdataset", "compression": "zstd"},
    }[changed]
    root, manifest = redrawn
    made = build(spec, tmp_path / "c", engine="local")
    assert made["content_digest"] == manifest["content_digest"]
    assert made["dedup"] == manifest["dedup"]
    assert decoded(tmp_path / "c", made["spec"]) == decoded(root, manifest["spec"])
    assert verify(tmp_path / "c", content=True) == []


@pytest.mark.parametrize("examples", [1, 1000, 10**6, 10**9])
@pytest.mark.parametrize("memory", [1 << 20, 1 << 25, 1 << 30])
@pytest.mark.parametrize("slots", [1, 3, 64])
def test_ranges_are_as_many_as_the_budget_needs(examples: int, memory: int, slots: int) -> None:
    if slots * search.table_bytes(examples, 1 << 12) > memory:
        with pytest.raises(ConfigError, match="give at least"):
            search.count_ranges(examples, memory, slots)
        return
    ranges = search.count_ranges(examples, memory, slots)
    assert ranges & (ranges - 1) == 0
    assert slots * search.table_bytes(examples, ranges) <= memory


def test_too_little_memory_gets_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    few_bytes(monkeypatch, 100)
    with pytest.raises(ConfigError, match=r"dedup\.memory=100 bytes are too little.*give at least") as caught:
        build(REDRAWN, tmp_path / "c", engine="local")
    assert "\n" not in str(caught.value)


def test_tables_never_grow_past_their_room(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What a range's table takes is what `table_bytes` counted on."""
    from pipeline.dedup.table import Table

    most = 0
    real = Table.insert

    def insert(self: Table, prints: Any) -> Any:
        nonlocal most
        found = real(self, prints)
        most = max(most, self.slots.nbytes)
        return found

    monkeypatch.setattr(Table, "insert", insert)
    monkeypatch.setattr(search, "TAIL_EXAMPLES", 50)
    spec = {**CASES["mano 1"], "dedup": {"mode": "redraw", "key": "tokens"}}
    examples = sum(entry["examples"] for entry in SPLITS.values())
    for ranges in (1, 16):
        monkeypatch.setattr(search, "count_ranges", lambda examples, memory, slots, n=ranges: n)
        most = 0
        build(spec, tmp_path / str(ranges), engine="local")
        assert 0 < most <= search.table_bytes(examples, ranges)


def test_another_seed_keeps_others(tmp_path: Path, redrawn: tuple[Path, dict[str, Any]]) -> None:
    made = build({**REDRAWN, "seed": 1}, tmp_path / "c", engine="local")
    assert made["content_digest"] != redrawn[1]["content_digest"]


def test_a_space_that_is_used_up_ends_the_search_and_says_so(tmp_path: Path) -> None:
    """Mano with one operator modulo 5 has 75 problems: of 700 asked for, no more can be."""
    spec = {**CASES["mano 1"], "dedup": {"mode": "redraw", "key": "content"}}
    made = build(spec, tmp_path / "c", engine="local")
    assert made["totals"]["rows"] == 75
    assert all(entry["exhausted"] == (entry["dropped"] > 0) for entry in made["dedup"].values())


def test_a_space_of_unknown_size_ends_the_search_too(
    first_draws: Callable[[dict[str, Any]], Rows], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More examples than there are, by the rule as it is in earnest: none is sought for ever."""
    monkeypatch.undo()
    splits = {"train": {"examples": 30}}
    datasets = {"m": ("mano", {"L": 1, "value_mod": 2, "ttype": "a"})}  # 4 problems
    other = build(
        crowded(datasets, {"train": {"examples": 2}}, seed=3, dedup={"mode": "redraw", "key": "content"}),
        tmp_path / "other",
        engine="local",
    )
    assert other["totals"]["rows"] == 2
    spec = crowded(
        datasets,
        splits,
        dedup={"mode": "redraw", "key": "content", "against": [str(tmp_path / "other")]},
    )
    made = build(spec, tmp_path / "c", engine="local")
    assert made["dedup"]["m/train"]["dropped"] == 28


# Other corpora


def against(*roots: Path, mode: str = "drop", key: str = "content", case: str = "manos") -> dict[str, Any]:
    """A case, against other corpora."""
    return {**CASES[case], "dedup": {"mode": mode, "key": key, "against": list(map(str, roots))}}


@pytest.fixture(scope="module")
def others(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Corpora that hold some of the problems of the case "manos"."""
    root = tmp_path_factory.mktemp("others")
    config = {"L": 2, "value_mod": 3}
    splits = {"train": {"examples": 60}, "test": {"examples": 20, "form": "test"}}
    for name, own in {
        "plain": {"seed": 5},
        "more": {"seed": 6, "format": "webdataset"},
        "packed": {"seed": 7, "pack": {"length": 64, "mode": "left_aligned"}},
        "deduplicated": {"seed": 8, "dedup": {"mode": "redraw", "key": "content"}},
        "by tokens": {"seed": 9, "dedup": {"mode": "drop", "key": "tokens"}},
        "shared": {"seed": 10, "vocabulary": "shared"},
    }.items():
        build(crowded({"m": ("mano", config)}, splits, **own), root / name, engine="local")
    return {path.name: path for path in root.iterdir()}


def rows_with_published_ids(root: Path) -> Rows:
    """The examples of a corpus, packed or renamed or not: those of an equal spec that is neither."""
    manifest = read_manifest(root)
    spec = {**manifest["spec"], "vocabulary": "published", "pack": None}
    copy = root.parent / f"{root.name} plain"
    build(spec, copy, engine="local")
    return decoded(copy, spec)


@pytest.mark.parametrize("mode", ["drop", "redraw"])
@pytest.mark.parametrize(
    "names",
    [["plain"], ["plain", "more"], ["deduplicated"], ["packed", "shared"], ["plain", "plain"]],
    ids=str,
)
def test_no_example_of_another_corpus_stays(
    first_draws: Callable[[dict[str, Any]], Rows],
    others: dict[str, Path],
    tmp_path: Path,
    mode: str,
    names: list[str],
) -> None:
    spec = against(*(others[name] for name in names), mode=mode)
    first = first_draws({**spec, "dedup": None})
    taken: set[Any] = set()
    for name in names:
        theirs = read_manifest(others[name])["spec"]
        rows = (
            rows_with_published_ids(others[name])
            if name in ("packed", "shared")
            else decoded(others[name], theirs)
        )
        taken |= identities(theirs, rows, "content")
    made = build(spec, tmp_path / "c", engine="local")
    wanted = settle(made["spec"], first, taken=taken, quiet=QUIET)
    check_is(tmp_path / "c", made, wanted)
    assert not identities(made["spec"], wanted.rows, "content") & taken
    assert verify(tmp_path / "c", content=True) == []
    assert reproduce(tmp_path / "c")[1] == []


def test_where_another_corpus_has_all_of_round_0_all_are_redrawn(tmp_path: Path) -> None:
    """The same spec once more, against itself: every first draw loses, and all that stay are redrawn."""
    spec = crowded({"m": ("mano", {"L": 4})}, {"train": {"examples": 50}})
    build(spec, tmp_path / "one", engine="local")
    dedup = {"mode": "redraw", "key": "content", "against": [str(tmp_path / "one")]}
    made = build({**spec, "dedup": dedup}, tmp_path / "two", engine="local")
    assert made["dedup"] == {"m/train": {"asked": 50, "redrawn": 50, "dropped": 0, "exhausted": False}}


def test_nothing_at_all_may_stay(tmp_path: Path) -> None:
    """Against itself with mode drop: every shard is empty, and everything still works."""
    spec = crowded({"m": ("mano", {"L": 2})}, SPLITS)
    build(spec, tmp_path / "one", engine="local")
    dedup = {"mode": "drop", "against": [str(tmp_path / "one")]}
    for form, compression in (("parquet", "zstd"), ("webdataset", "none"), ("webdataset", "zstd")):
        root = tmp_path / f"{form} {compression}"
        made = build(
            {**spec, "dedup": dedup, "format": form, "compression": compression}, root, engine="local"
        )
        assert made["totals"]["rows"] == made["totals"]["tokens"] == 0
        assert made["content_digest"] == "0" * 32
        assert verify(root, content=True) == []
        assert reproduce(root)[1] == []
        with pytest.raises(OstracaError, match="has no example: all were dropped as duplicates"):
            CorpusSource(root)
        export(root, "jsonl", tmp_path / f"{root.name} lines")
        export(root, "megatron", tmp_path / f"{root.name} megatron")


def test_the_folder_of_the_other_corpus_may_move(others: dict[str, Path], tmp_path: Path) -> None:
    """What counts is what it holds: spec digest, manifest and files are the same but for the path."""
    one = build(against(others["plain"]), tmp_path / "one", engine="local")
    moved = shutil.copytree(others["plain"], tmp_path / "moved")
    two = build(against(moved), tmp_path / "two", engine="local")
    assert one["spec_digest"] == two["spec_digest"]
    assert files_below(tmp_path / "one") == files_below(tmp_path / "two")
    shutil.rmtree(moved)
    assert verify(tmp_path / "two", content=True) == []
    assert reproduce(tmp_path / "two")[1] == []
    next((tmp_path / "two").rglob("*.parquet")).unlink()
    build(two["spec"], tmp_path / "two", engine="local")  # mended, although the other corpus is gone
    assert verify(tmp_path / "two", content=True) == []


def test_another_corpus_that_is_gone_or_another_one_gets_one_line(
    others: dict[str, Path], tmp_path: Path
) -> None:
    complete = check_spec(with_against(against(others["plain"])))
    moved = copy.deepcopy(complete)
    moved["dedup"]["against"][0]["path"] = str(tmp_path / "nowhere")
    nameless = copy.deepcopy(complete)
    nameless["dedup"]["against"][0]["path"] = None
    wrong = copy.deepcopy(complete)
    wrong["dedup"]["against"][0]["path"] = str(others["more"])
    for spec, words in (
        (moved, "nowhere: no such folder"),
        (nameless, "say where the corpus crowded is"),
        (wrong, "has content digest .* but the spec asks for .* give the corpus that is meant"),
        (
            against(others["by tokens"]),
            "was deduplicated by tokens, this corpus by content; set dedup.key=tokens",
        ),
        (against(tmp_path / "nowhere"), r"dedup\.against: .*nowhere: no such folder"),
        (against(tmp_path), r"dedup\.against: .* holds no corpus"),
    ):
        with pytest.raises(OstracaError, match=words) as caught:
            build(spec, tmp_path / "c", engine="local")
        assert "\n" not in str(caught.value)


# Row groups and shards of which nothing is left


@pytest.mark.parametrize(
    ("form", "compression", "pack"),
    [
        *((*form, pack) for form in FORMATS for pack in (None, "whole")),
        *(("parquet", "zstd", pack) for pack in ("left_aligned", "best_fit", "concat")),
    ],
)
def test_row_groups_and_shards_may_be_empty(
    tmp_path: Path, form: str, compression: str, pack: str | None
) -> None:
    """75 problems over some 20 shards: in most row groups, and in whole shards, nothing is left."""
    spec = {
        **CASES["mano 1"],
        "shard_tokens": 300,
        "row_group_tokens": 30,
        "format": form,
        "compression": compression,
        "pack": None if pack is None else {"length": 16, "mode": pack},
        "dedup": {"mode": "drop", "key": "content"},
    }
    made = build(spec, tmp_path / "c", engine="local")
    rows = [record["rows"] for _, record in records_of(made)]
    assert 0 in rows
    assert sum(rows) > 0
    root = tmp_path / "c"
    assert verify(root, content=True) == []
    assert reproduce(root)[1] == []
    for split in ("test", "train"):
        source = CorpusSource(root, split=split, epochs=1, window_blocks=3)
        stream = TokenStream(source, batch_size=4, length=16, mode="padded" if pack is None else "packed")
        lines = sum(len(batch["input_ids"]) for batch in stream)
        assert lines == source.rows == made["splits"][split]["rows"]
    export(root, "jsonl", tmp_path / "lines")
    assert sum(each["rows"] for each in made["splits"].values()) == made["totals"]["rows"]
    victims = sorted(root.rglob(f"*.{SUFFIXES[form, compression]}"))[::3]
    before = files_below(root)
    for path in victims:
        path.unlink()
    build(spec, root, engine="local")
    assert files_below(root) == before


def test_the_shared_vocabulary_changes_nothing_of_who_stays(tmp_path: Path) -> None:
    """Examples are compared with the ids as published: tasks that share ids afterwards share no examples."""
    spec = {**CASES["manos"], "dedup": {"mode": "redraw", "key": "tokens"}}
    spec["datasets"] = {
        **{name: spec["datasets"][name] for name in ("a", "b")},
        "l": CASES["lano"]["datasets"]["l"],
    }
    published = build(spec, tmp_path / "published", engine="local")
    shared = build({**spec, "vocabulary": "shared"}, tmp_path / "shared", engine="local")
    assert shared["dedup"] == published["dedup"]
    assert stays_in(tmp_path / "shared") == stays_in(tmp_path / "published")
    assert verify(tmp_path / "shared", content=True) == []


@pytest.mark.parametrize("mode", ["drop", "redraw"])
@pytest.mark.parametrize("sizes", [(4_000, 1_000), (900, 300), (10**6, 10**6)])
def test_diff_shows_the_first_example_that_deduplication_changed(
    first_draws: Callable[[dict[str, Any]], Rows], tmp_path: Path, mode: str, sizes: tuple[int, int]
) -> None:
    spec = CASES["mano 2"]
    plain = build({**spec, "row_group_tokens": 700}, tmp_path / "off", engine="local")
    smaller = dict(zip(("shard_tokens", "row_group_tokens"), sizes, strict=True))
    made = build({**spec, **smaller, "dedup": {"mode": mode}}, tmp_path / "on", engine="local")
    found = compare(tmp_path / "off", tmp_path / "on")
    assert not found.same
    assert "dedup" in {each.what for each in found.differences}
    rows = {"off": decoded(tmp_path / "off", plain["spec"]), "on": decoded(tmp_path / "on", made["spec"])}
    split = next(
        name
        for name in plain["splits"]
        if plain["splits"][name]["content_digest"] != made["splits"][name]["content_digest"]
    )
    one, other = rows["off"]["m", split], rows["on"]["m", split]
    index = next(each for each in one if one[each] != other.get(each))
    assert found.example is not None
    assert (found.example.split, found.example.index) == (split, index)
    assert (found.example.path, found.example.other) == (one[index], other.get(index, {}))


# Capo


CAPO = {"num_people": 6, "exposures": 200}


@pytest.mark.parametrize("bio", ["tokens", "text"])
@pytest.mark.parametrize("key", ["tokens", "content"])
def test_biographies_are_dropped_but_never_redrawn(
    first_draws: Callable[[dict[str, Any]], Rows], tmp_path: Path, bio: str, key: str
) -> None:
    templates = {"order": False, "exposures": 400}
    spec = crowded(
        {"c": ("capo", {**CAPO, **templates, "bio": bio})},
        {"train": {"examples": 300}, "test": {"examples": 20}},
        shard_tokens=4_000 if bio == "tokens" else 20_000,
    )
    with pytest.raises(ConfigError, match=r"redraw: the examples of c are counted .* set dedup\.mode=drop"):
        build({**spec, "dedup": {"mode": "redraw", "key": key}}, tmp_path / "no", engine="local")
    assert not (tmp_path / "no").exists()
    made = build({**spec, "dedup": {"mode": "drop", "key": key}}, tmp_path / "c", engine="local")
    wanted = settle(made["spec"], first_draws(spec), quiet=QUIET)
    check_is(tmp_path / "c", made, wanted)
    assert verify(tmp_path / "c", content=True) == []
