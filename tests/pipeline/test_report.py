"""The report: real libraries read the card and Croissant, the page is whole, the bytes are the same again."""

from __future__ import annotations

import copy
import io
import json
import logging
import re
import tarfile
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from ostraca.pipeline.build.build import build
from ostraca.pipeline.corpus.formats.parquet_mask import unstored
from ostraca.pipeline.corpus.split_statistics import Counts, Histogram, Statistics
from ostraca.pipeline.report.bins import bins_of, round_ticks
from ostraca.pipeline.report.card import make_card, short_names, size_category
from ostraca.pipeline.report.charts import charts_of, lost_shares
from ostraca.pipeline.report.columns import about_column
from ostraca.pipeline.report.drawing import Bar, Dot, Drawing, Line, Text
from ostraca.pipeline.report.figures import brief, percent, short
from ostraca.pipeline.report.page import make_page
from ostraca.pipeline.report.pictures import draw_pictures, png_of
from ostraca.pipeline.report.render import colours, environment
from ostraca.pipeline.report.table import screen_table
from ostraca.pipeline.report.write import FILES, write_report
from ostraca.pipeline.store.local import LocalFolder
from ostraca.tasks import TASKS, get_task
from ostraca.tasks.core.batch import ragged

STRATA = {"depo": {"nodes": "n", "hops": "query_hops"}, "mano": {"length": "length"}}
Key = tuple[str, str]


@dataclass(frozen=True)
class Built:
    """A corpus and what its report is made of."""

    root: Path
    manifest: dict[str, Any]
    statistics: dict[Key, Counts]
    samples: dict[Key, pa.RecordBatch]


def built(root: Path, spec: Mapping[str, Any]) -> Built:
    """Build a corpus and count its shards."""
    manifest = build(spec, root, engine="local")
    statistics, samples = {}, {}
    for split, entry in manifest["splits"].items():
        for record in entry["shards"]:
            key = record["dataset"], split
            strata = STRATA.get(manifest["spec"]["datasets"][key[0]]["task"], {})
            (batch,) = pq.read_table(root / record["path"]).combine_chunks().to_batches()
            batch = unstored(batch)
            found = Statistics.of(batch, strata)
            if key in statistics:
                found += statistics[key].after
            statistics[key] = Counts(before=found, after=found)
            samples.setdefault(key, batch.slice(0, 3))
    return Built(root, manifest, statistics, samples)


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """Depo of several shards and Mano, in one vocabulary, with their report."""
    depo = {"task": "depo", "config": {"N": 20, "K": 4, "M": 5}}
    mano = {"task": "mano", "config": {"L": 3, "value_mod": 5, "knowledge_augment": False}}
    test = {"examples": 20, "form": "test"}
    spec = {
        "name": "two",
        "vocabulary": "shared",
        "shard_tokens": 10_000,
        "datasets": {
            "depo": {**depo, "splits": {"train": {"examples": 500}, "test": test}},
            "mano": {**mano, "splits": {"train": {"examples": 400}, "test": test, "train_2": test}},
        },
    }
    made = built(tmp_path_factory.mktemp("report") / "two", spec)
    write_report(LocalFolder(made.root), made.manifest, made.statistics, made.samples)
    return made


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """Capo as texts: no ids, no mask, no vocabulary, one split."""
    capo = {"task": "capo", "config": {"num_people": 20, "exposures": 2, "bio": "text"}}
    spec = {"name": "texts", "datasets": {"bios": {**capo, "splits": {"train": {}}}}}
    return built(tmp_path_factory.mktemp("report") / "texts", spec)


def report_of(made: Built, root: Path) -> dict[str, bytes]:
    """Every file of a report written anew, by path."""
    paths = write_report(LocalFolder(root), made.manifest, made.statistics, made.samples)
    found = {
        path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()
    }
    assert sorted(found) == paths
    return found


def front_matter(text: str) -> dict[str, Any]:
    read: dict[str, Any] = yaml.safe_load(text.split("---\n")[1])
    return read


# ---- the card


def test_datasets_loads_every_split_just_as_the_shards_are(two: Built, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")

    names = datasets.get_dataset_config_names(str(two.root))
    assert names == ["depo", "mano"]
    for dataset, split in two.statistics:
        loaded = datasets.load_dataset(str(two.root), dataset, split=split, cache_dir=str(tmp_path))
        shards = [r["path"] for r in two.manifest["splits"][split]["shards"] if r["dataset"] == dataset]
        rows = [row for path in shards for row in pq.read_table(two.root / path).to_pylist()]
        assert loaded.to_list() == rows, (dataset, split)


def test_datasets_knows_a_corpus_by_the_short_name_of_its_preset(tmp_path: Path) -> None:
    """`corpus=depo1` is depo1-225: either name loads it, and none."""
    datasets = pytest.importorskip("datasets")

    from ostraca import cli

    root, cache = tmp_path / "corpus", str(tmp_path / "cache")
    words = ["build", "corpus=depo1", f"out={root}", "examples=30", "engine=local"]
    assert cli.main(words) == 0
    assert datasets.get_dataset_config_names(str(root)) == ["depo1-225", "depo1"]
    rows = [
        datasets.load_dataset(str(root), *name, split="train", cache_dir=cache).to_list()
        for name in (["depo1"], ["depo1-225"], [])
    ]
    assert len(rows[0]) == 30
    assert rows[0] == rows[1] == rows[2]


@pytest.mark.parametrize("vocabulary", ["published", "shared"])
@pytest.mark.parametrize("more", [{}, {"pack": {"length": 300, "mode": "concat"}}, {"format": "webdataset"}])
def test_the_code_in_the_card_runs(vocabulary: str, more: dict[str, Any], tmp_path: Path) -> None:
    pytest.importorskip("datasets")
    pytest.importorskip("torch")
    root = tmp_path / "corpus"
    splits = {"train": {"examples": 60}}
    datasets = {
        "depo": {"task": "depo", "config": {"N": 8}, "splits": splits},
        "mano": {"task": "mano", "config": {"L": 3}, "splits": splits},
    }
    build({"datasets": datasets, "vocabulary": vocabulary, **more}, root, engine="local", report=True)
    code = (root / "README.md").read_text().split("```python\n")[1].split("```")[0].replace("PATH", str(root))
    assert "load_dataset(" in code
    names: dict[str, Any] = {}
    cache = f'split="train", cache_dir={str(tmp_path / "cache")!r})\n'
    exec(code.replace('split="train")\n', cache, 1), names)
    assert len(names["dataset"]) == 60 or "pack" in more
    assert next(iter(names["stream"]))["input_ids"].shape[1] == (300 if "pack" in more else 2048)


def test_a_short_name_is_never_anothers() -> None:
    assert short_names(["depo1-225", "mano", "lano-cfg3f"]) == {"depo1-225": "depo1", "lano-cfg3f": "lano"}
    assert short_names(["depo1-225", "depo1-300", "mano-10", "mano", "-x"]) == {"depo1-225": "depo1"}
    assert short_names(["depo1-225-x075221", "depo1-300", "capo-2m"]) == {}, "depo1 is depo1-225 alone"


def test_datasets_loads_a_corpus_of_tars(tmp_path: Path) -> None:
    """The card names whatever files the manifest does."""
    datasets = pytest.importorskip("datasets")

    root = tmp_path / "corpus"
    manifest = tar_manifest()
    path = manifest["splits"]["train"]["shards"][0]["path"]
    (root / path).parent.mkdir(parents=True)
    with tarfile.open(root / path, "w") as tar:
        for row in range(3):
            array = io.BytesIO()
            np.save(array, np.arange(row, row + 4, dtype=np.uint16))
            members = {"input_ids.npy": array.getvalue(), "meta.json": b'{"length":3}'}
            for name, content in members.items():
                info = tarfile.TarInfo(f"{row:012d}.{name}")
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    nothing = Statistics()
    statistics = {("mano", "train"): Counts(before=nothing, after=nothing)}
    write_report(LocalFolder(root), manifest, statistics, {})
    assert "recordSet" not in json.loads((root / "croissant.json").read_text())
    loaded = datasets.load_dataset(str(root), "mano", split="train", cache_dir=str(tmp_path / "cache"))
    assert [row["input_ids.npy"] for row in loaded] == [[0, 1, 2, 3], [1, 2, 3, 4], [2, 3, 4, 5]]


def test_a_card_promises_no_more_than_datasets_can_read() -> None:
    """It cannot read a tar with zstd, nor the loaders texts."""
    manifest = tar_manifest()
    statistics = {("mano", "train"): Counts(before=Statistics(), after=Statistics())}
    assert "load_dataset(" in make_card(manifest, statistics, {}, [])
    manifest["splits"]["train"]["shards"][0]["path"] += ".zst"
    manifest["spec"]["compression"] = "zstd"
    card = make_card(manifest, statistics, {}, [])
    assert "configs" not in front_matter(card)
    assert "load_dataset(" not in card
    assert "open_stream(" in card


def tar_manifest() -> dict[str, Any]:
    """A manifest of one shard of WebDataset."""
    split = {"examples": 3, "config": get_task("mano").check({"L": 3})}
    record = {"dataset": "mano", "path": "mano/train-00000-of-00001.tar", "rows": 3, "tokens": 12}
    record |= {"bytes": 10_240, "sha256": "0" * 64}
    return {
        "name": "tars",
        "content_digest": "0" * 32,
        "spec_digest": "0" * 64,
        "tasks": {"mano": 1},
        "spec": {
            "seed": 0,
            "vocabulary": "published",
            "format": "webdataset",
            "compression": "none",
            "datasets": {"mano": {"task": "mano", "version": 1, "splits": {"train": split}}},
        },
        "splits": {"train": {"content_digest": "0" * 32, "shards": [record]}},
    }


def test_the_front_matter_is_what_the_hub_asks_for(two: Built) -> None:
    from huggingface_hub import DatasetCard

    text = (two.root / "README.md").read_text()
    found = front_matter(text)
    assert DatasetCard(text).data.to_dict() == found
    assert found["task_categories"] == ["text-generation"]
    assert found["size_categories"] == ["n<1K"]
    assert [each["config_name"] for each in found["configs"]] == ["depo", "mano"]
    assert found["configs"][1]["data_files"] == [
        {"split": "train", "path": "mano/train-*.parquet"},
        {"split": "test", "path": "mano/test-*.parquet"},
        {"split": "train_2", "path": "mano/train_2-*.parquet"},
    ]


@pytest.mark.parametrize("name", ["1e5", "no", "null", "007", "2024-01-01"])
def test_names_that_yaml_would_take_for_something_else_stay_names(two: Built, name: str) -> None:
    manifest = json.loads(
        json.dumps(two.manifest).replace('"depo"', f'"{name}"').replace('"depo/', f'"{name}/')
    )
    manifest["spec"]["datasets"][name]["task"] = "depo"
    manifest |= {"name": name, "tasks": two.manifest["tasks"]}
    statistics = {
        (dataset.replace("depo", name), split): each for (dataset, split), each in two.statistics.items()
    }
    found = front_matter(make_card(manifest, statistics, {}, []))
    assert found["pretty_name"] == found["configs"][0]["config_name"] == name


@pytest.mark.parametrize(
    ("examples", "category"),
    [
        (0, "n<1K"),
        (999, "n<1K"),
        (1000, "1K<n<10K"),
        (10**6, "1M<n<10M"),
        (10**9 - 1, "100M<n<1B"),
        (10**12 - 1, "100B<n<1T"),
        (10**12, "n>1T"),
    ],
)
def test_sizes_are_in_the_hubs_words(examples: int, category: str) -> None:
    assert size_category(examples) == category


def test_every_column_of_every_task_is_explained() -> None:
    for name in TASKS:
        task = get_task(name)
        for config in [{}] + ([{"bio": "text"}] if name == "capo" else []):
            schema = task.schema(task.check(config))
            assert [field.name for field in schema if not about_column(name, field.name, schema)] == []


def test_every_picture_that_the_card_shows_is_there(two: Built) -> None:
    pytest.importorskip("matplotlib")
    shown = re.findall(r"!\[[^\]]*\]\(([^)]*)\)", (two.root / "README.md").read_text())
    assert sorted(shown) == ["report/dataset-depo.png", "report/dataset-mano.png", "report/mixture.png"]
    for path in shown:
        assert (two.root / path).read_bytes().startswith(b"\x89PNG")


def test_without_matplotlib_all_but_the_pictures_are_made(
    two: Built, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ostraca.pipeline.report.pictures.find_spec", lambda name: None)
    found = report_of(two, tmp_path)
    assert sorted(found) == sorted(FILES)
    assert b"![" not in found["README.md"]
    assert found["report.html"] == (two.root / "report.html").read_bytes()


# ---- Croissant


@pytest.fixture
def mlcroissant() -> Iterator[Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its own dependencies
        mlcroissant = pytest.importorskip("mlcroissant")

        yield mlcroissant


def test_croissant_is_valid_but_for_what_only_a_publisher_can_say(
    two: Built, mlcroissant: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, logger="absl"):
        found = mlcroissant.Dataset(jsonld=str(two.root / "croissant.json"))
    issues = found.metadata.ctx.issues
    assert issues.errors == set()
    assert all("schema.org/license" in each or "datePublished" in each for each in issues.warnings)
    assert len(issues.warnings) == 2
    assert "@context" not in caplog.text  # it says so where the context is not the standard one
    assert str(found.metadata.ctx.conforms_to.value).endswith("/1.1")


def test_croissant_reads_the_rows_that_the_shards_have(two: Built, mlcroissant: Any) -> None:
    found = mlcroissant.Dataset(jsonld=str(two.root / "croissant.json"))
    expected: dict[tuple[str, int], Any] = {}
    for split, entry in two.manifest["splits"].items():
        for record in entry["shards"]:
            if record["dataset"] == "mano":
                for row in pq.read_table(two.root / record["path"]).to_pylist():
                    expected[split, row["index"]] = row
    for record in found.records("mano-rows"):
        row = {name.removeprefix("mano-rows/"): value for name, value in record.items()}
        assert row == expected.pop((row.pop("split").decode(), row["index"]))
    assert expected == {}


def test_croissant_has_every_shard_with_its_digest(two: Built) -> None:
    found = json.loads((two.root / "croissant.json").read_text())
    shards = {each["contentUrl"]: each for each in found["distribution"] if each["@type"] == "cr:FileObject"}
    assert sorted(shards) == sorted(
        path.relative_to(two.root).as_posix() for path in two.root.rglob("*.parquet")
    )
    for path, each in shards.items():
        assert each["sha256"] == LocalFolder(two.root).sha256(path)
        assert each["contentSize"] == f"{(two.root / path).stat().st_size} B"
    ids = [each["@id"] for each in [*found["distribution"], *found["recordSet"]]]
    assert len(set(ids)) == len(ids)


# ---- the page

VOID = {"meta", "br"}


class Page(HTMLParser):
    """Checks that every tag is closed where it must be, and gathers what the page holds."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        assert len(dict(attrs)) == len(attrs), f"{tag} has an attribute twice"
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def read_page(made: Built) -> Page:
    return Page(make_page(made.manifest, made.statistics, made.samples))


def test_the_page_is_whole_html_that_loads_nothing(two: Built, texts: Built) -> None:
    for made in (two, texts):
        read = read_page(made)
        ids = [attributes["id"] for _, attributes in read.tags if "id" in attributes]
        assert len(ids) == len(set(ids))
        for tag, attributes in read.tags:
            assert tag not in ("script", "link", "img", "iframe", "object", "base", "image", "use"), tag
            assert not {"src", "srcset", "style", "xlink:href"} & set(attributes)
            assert not any(name.startswith("on") for name in attributes)
            if "href" in attributes:
                assert attributes["href"].removeprefix("#") in ids
        assert "url(" not in read.text
        assert "@import" not in read.text


def test_what_comes_from_elsewhere_is_escaped(two: Built) -> None:
    """Names of strata, of the corpus and of tokens, values of configs."""
    evil = "<script>\"&'\n</script>"
    manifest = copy.deepcopy(two.manifest)
    manifest["name"] = evil
    manifest["spec"]["datasets"]["depo"]["splits"]["train"]["config"]["fixed_k"] = evil
    statistics = dict(two.statistics)
    for key in [("mano", "train"), ("depo", "test")]:
        after = replace(two.statistics[key].after, strata={evil: Histogram.of(np.arange(5))})
        statistics[key] = Counts(before=after, after=after)
    samples = {key: each for key, each in two.samples.items() if key[0] == "depo"}
    read = Page(make_page(manifest, statistics, samples))
    assert "script" not in [tag for tag, _ in read.tags]
    assert read.text.count(evil) >= 4
    assert "<bos>" in read.text


def test_the_page_shows_rows_with_published_names_and_what_is_learned_marked(two: Built) -> None:
    text = make_page(two.manifest, two.statistics, two.samples)
    (row,) = two.samples["depo", "train"].slice(0, 1).to_pylist()
    first = text[text.index("Rows of train") : text.index("2 more")]
    assert first.count("<mark>") == sum(row["loss_mask"])
    assert first.count("<br>") == len(row["query_hops"])
    assert "&lt;query_" in first
    assert "depo:" not in first
    assert f"{len(row['input_ids'])} tokens, loss on {sum(row['loss_mask'])}, n {row['n']}" in first


def test_texts_are_shown_with_their_values_underlined(texts: Built) -> None:
    (row,) = texts.samples["bios", "train"].slice(0, 1).to_pylist()
    read = read_page(texts)
    assert row["text"] in read.text
    assert sum(tag == "u" for tag, _ in read.tags) == 3 * len(row["value_starts"])
    assert "bytes" in read.text
    assert "open_stream(" not in read.text


def test_packed_rows_are_shown_a_document_a_line(two: Built) -> None:
    """Their shards have columns of their own, and no task knows them."""
    manifest = copy.deepcopy(two.manifest)
    manifest["spec"]["pack"] = {"length": 64, "mode": "best_fit"}
    documents = two.samples["mano", "train"]
    tokens, sizes = documents["input_ids"].flatten(), documents["input_ids"].value_lengths().to_pylist()
    one = np.array([0, len(tokens)], dtype=np.int32)
    starts = np.array([0, sizes[0], sizes[0] + sizes[1]], dtype=np.int32)
    packed = pa.RecordBatch.from_pydict(
        {
            "input_ids": ragged(tokens.to_numpy(), one),
            "loss_mask": ragged(np.ones(len(tokens), dtype=np.uint8), one),
            "index": np.zeros(1, dtype=np.int64),
            "offset": np.zeros(1, dtype=np.int32),
            "starts": ragged(starts, np.array([0, 3], dtype=np.int32)),
            "documents": ragged(np.arange(3), np.array([0, 3], dtype=np.int32)),
        }
    )
    text = make_page(manifest, two.statistics, {("mano", "train"): packed})
    Page(text)
    assert text.count("<br>") == 2
    assert "3 documents" in text
    assert "rows of 64 tokens (best_fit)" in text
    table = shown(screen_table(manifest, two.statistics))
    assert "packed rows" in table


def test_a_corpus_without_strata_or_samples_has_a_page_too(two: Built) -> None:
    statistics = {}
    for key, each in two.statistics.items():
        plain = replace(each.after, strata={})
        statistics[key] = Counts(before=plain, after=plain)
    read = Page(make_page(two.manifest, statistics, {}))
    assert sum(tag == "figure" for tag, _ in read.tags) == len(two.manifest["spec"]["datasets"])


# ---- charts


def test_svg_and_matplotlib_draw_the_same_shapes() -> None:
    """Every kind, in its place and colour; the later ones upon the earlier."""
    matplotlib = pytest.importorskip("matplotlib.image")
    shapes = [
        Line(10, 50, 90, 50, "faint"),
        Bar(10, 10, 30, 20, "read"),
        Bar(10, 10, 15, 20, "bar"),
        Dot(70, 20, "lost"),
        Text(5, 90, "<b>$x_1$ & 'so'", size=30),
        Text(95, 90, "#", "end", 30, True),
    ]
    drawing = Drawing(title="all", label="all", wide=100, high=100, shapes=shapes)
    pixels = matplotlib.imread(io.BytesIO(png_of([(0, 0, drawing)])))
    scale = len(pixels) / 124  # with a margin of 12 on all sides
    for x, y, colour in ((30, 50, "faint"), (35, 20, "read"), (20, 20, "bar"), (70, 20, "lost")):
        above, left = int((y + 12) * scale), int((x + 12) * scale)
        drawn = pixels[above - 1 : above + 2, left, :3] * 255
        wanted = [int(colours()[colour][at : at + 2], 16) for at in (1, 3, 5)]
        assert (np.abs(drawn - wanted) < 40).all(axis=1).any(), colour
    assert (pixels[int(70 * scale) : int(102 * scale), :, :3].min(axis=(1, 2)) < 0.4).any(), "no text"
    page = environment().from_string('{% import "macros.html.j2" as draw %}{{ draw.figure(drawing) }}')
    read = Page(page.render(drawing=drawing))
    found = [(tag, attributes.get("class")) for tag, attributes in read.tags if tag in DRAWN]
    assert found == [
        ("line", "faint"),
        ("rect", "read"),
        ("rect", "bar"),
        ("circle", "lost"),
        ("text", None),
        ("text", "strong"),
    ]
    assert "<b>$x_1$ & 'so'" in read.text


DRAWN = {"line", "rect", "circle", "text"}


@pytest.mark.parametrize("values", [[7], [-5, 3], [0, 10**15], [10**15, 10**15 + 3], list(range(100))])
def test_a_chart_of_any_values_stays_in_its_box(values: list[int]) -> None:
    found = Statistics(rows=len(values), lengths=Histogram.of(np.array(values)))
    nothing = Statistics()
    counts = {
        "train": Counts(before=found, after=found),
        "a_split_of_a_name_that_leaves_no_room": Counts(before=found, after=nothing),
    }
    (drawing,) = charts_of(counts, "tokens")
    for each in drawing.shapes:
        if isinstance(each, Bar):
            assert 0 < each.x < each.x + each.wide < drawing.wide
            assert 0 < each.y < each.y + each.high < drawing.high
        elif isinstance(each, Text):
            assert 0 <= each.x <= drawing.wide
            assert 0 < each.y < drawing.high
    assert sum(isinstance(each, Bar) and each.colour == "lost" for each in drawing.shapes) > 0


# ---- duplicates


def without_duplicates(made: Built, key: Key) -> Counts:
    """A split before and after its duplicates are dropped, by their tokens."""
    dataset, split = key
    paths = [r["path"] for r in made.manifest["splits"][split]["shards"] if r["dataset"] == dataset]
    table = pa.concat_tables([pq.read_table(made.root / path) for path in paths])
    first: dict[tuple[int, ...], int] = {}
    for row, tokens in enumerate(table["input_ids"].to_pylist()):
        first.setdefault(tuple(tokens), row)
    (batch,) = table.take(list(first.values())).combine_chunks().to_batches()
    return Counts(before=made.statistics[key].before, after=Statistics.of(unstored(batch), STRATA["mano"]))


def with_dedup(made: Built, mode: str) -> Built:
    manifest = copy.deepcopy(made.manifest)
    manifest["spec"]["dedup"] = {"mode": mode, "key": "tokens", "against": ["test"]}
    counts = without_duplicates(made, ("mano", "train"))
    if mode == "redraw":
        counts = Counts(before=counts.before, after=counts.before, redrawn=counts.dropped)
    return Built(made.root, manifest, {**made.statistics, ("mano", "train"): counts}, made.samples)


@pytest.mark.parametrize("mode", ["drop", "redraw"])
def test_duplicates_are_told_everywhere(two: Built, mode: str) -> None:
    made = with_dedup(two, mode)
    counts = made.statistics["mano", "train"]
    gone = counts.dropped or counts.redrawn
    assert gone > 10
    card = make_card(made.manifest, made.statistics, made.samples, [])
    (row,) = [line for line in card.splitlines() if line.startswith("| mano | train |")]
    assert f" | {gone:,} | " in row
    assert f"{gone:,} were {'dropped' if mode == 'drop' else 'redrawn'}" in card
    assert "None is in test either." in card
    read = read_page(made)
    assert ("Duplicates by length" in read.text) == (mode == "drop")
    assert ("gone as duplicates" in read.text) == (mode == "drop")
    table = shown(screen_table(made.manifest, made.statistics))
    assert ("dropped" if mode == "drop" else "redrawn") in table
    assert f" {gone} " in table


def test_shares_of_duplicates_are_those_of_plain_counts() -> None:
    before, after = Histogram.of(np.array([1, 1, 1, 1, 2, 2, 4])), Histogram.of(np.array([1, 2, 2, 4, 4]))
    bins, lost = lost_shares(before, after)
    assert (bins.first, bins.width, bins.number) == (1, 1, 4)
    assert lost[:2].tolist() == [0.75, 0.0]
    assert np.isnan(lost[2])
    assert lost[3] == -1.0


# ---- the table, numbers, bins


def shown(table: Any) -> str:
    console = Console(width=200, file=io.StringIO())
    console.print(table)
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_the_table_on_the_screen_has_every_split_and_the_sum(two: Built) -> None:
    lines = shown(screen_table(two.manifest, two.statistics)).splitlines()
    totals = two.manifest["totals"]
    assert [line.split()[0] for line in lines[1:] if line.strip()] == [
        "depo/train",
        "depo/test",
        "mano/train",
        "mano/test",
        "mano/train_2",
        "all",
    ]
    assert "dropped" not in lines[0]
    assert f" {totals['rows']:,} " in lines[-1]
    assert f" {totals['tokens']:,} " in lines[-1]
    assert f" {totals['shards']} " in lines[-1]


@pytest.mark.parametrize(
    ("function", "number", "words"),
    [
        (short, 0, "0"),
        (short, 999, "999"),
        (short, 999.6, "1.00 k"),
        (short, 14_111, "14.1 k"),
        (short, 4_200_000, "4.20 M"),
        (short, 99_960, "100 k"),
        (short, 999_960, "1.00 M"),
        (short, 5e14, "500 T"),
        (brief, 20_000, "20 k"),
        (brief, 1_500, "1.5 k"),
        (brief, 0, "0"),
        (percent, 0, "0%"),
        (percent, 1, "100%"),
        (percent, 0.125, "12.5%"),
        (percent, 0.0001, "<0.1%"),
        (percent, 0.99999, ">99.9%"),
    ],
)
def test_numbers_are_short_and_not_rounded_away(
    function: Callable[[float], str], number: float, words: str
) -> None:
    assert function(number) == words


@given(
    st.lists(st.lists(st.integers(-(10**6), 10**6), min_size=1, max_size=40), min_size=1, max_size=3),
    st.integers(3, 60),
)
def test_bins_hold_every_value_once(parts: list[list[int]], most: int) -> None:
    histograms = [Histogram.of(np.array(part, dtype=np.int64)) for part in parts]
    bins = bins_of(histograms, most)
    assert 1 <= bins.number <= most
    for part, counts in zip(parts, bins.counts, strict=True):
        expected = [0] * bins.number
        for value in part:
            expected[(value - bins.first) // bins.width] += 1
        assert counts.tolist() == pytest.approx(expected)


def test_a_coarse_histogram_is_spread_over_the_values_that_it_stands_for() -> None:
    values = np.arange(100_000)
    (counts,) = bins_of([Histogram.of(values)]).counts
    assert counts.sum() == pytest.approx(len(values))
    assert counts[:-5] == pytest.approx(np.full(len(counts) - 5, counts[0]))


@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6), st.integers(1, 10))
def test_ticks_are_round_rise_and_stay_inside(low: float, wide: float, about: int) -> None:
    ticks = round_ticks(low, low + wide, about, whole=False)
    assert len(ticks) <= about + 2
    slack = 1e-6 * (abs(low) + wide + 1)
    assert all(low - slack <= tick <= low + wide + slack for tick in ticks)
    assert ticks == sorted(set(ticks))


# ---- the same bytes


def test_the_same_corpus_gives_the_same_bytes_whenever_and_wherever(two: Built, tmp_path: Path) -> None:
    """Neither the day nor the libraries of the build, nor the order of the statistics, leave a trace."""
    pytest.importorskip("matplotlib")
    made = with_dedup(two, "drop")
    manifest = {**made.manifest, "created": "1999-01-01", "python": "3.99.0", "libraries": {"pyarrow": "0"}}
    reverse = {key: made.statistics[key] for key in reversed(made.statistics)}
    again = Built(made.root, manifest, reverse, dict(reversed(made.samples.items())))
    first = report_of(made, tmp_path / "first")
    assert first == report_of(again, tmp_path / "second")
    assert len(first) == len(FILES) + 3


def test_drawing_leaves_matplotlib_as_it_was(two: Built) -> None:
    matplotlib = pytest.importorskip("matplotlib")

    before = dict(matplotlib.rcParams)
    assert next(iter(draw_pictures(two.manifest, two.statistics)))[0] == "report/mixture.png"
    assert dict(matplotlib.rcParams) == before
