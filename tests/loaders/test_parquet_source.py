"""Anybody's tokenised Parquet as a source: every token in order, whatever its types, or plain words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from streams import resume_after_every_step, take

from ostraca.loaders import Mixture, ParquetSource, TaskSource, TokenStream
from ostraca.tasks.core.batch import LABEL_IGNORED
from ostraca.tasks.errors import ConfigError, OstracaError

KINDS = {
    "uint16": pa.list_(pa.uint16()),
    "int64": pa.list_(pa.int64()),
    "large": pa.large_list(pa.int32()),
    "not null": pa.list_(pa.field("element", pa.uint32(), nullable=False)),
}


def documents(count: int, seed: int = 0) -> list[list[int]]:
    rng = np.random.default_rng(seed)
    return [rng.integers(1, 900, int(size)).tolist() for size in rng.integers(0, 90, count)]


def write(path: Path, rows: list[Any], kind: pa.DataType = KINDS["uint16"], **more: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    columns = {"text": ["x"] * len(rows), "input_ids": pa.array(rows, kind), **more}
    pq.write_table(pa.table(columns), path, row_group_size=7)


def tokens(stream: TokenStream) -> list[int]:
    ids = np.concatenate([batch["input_ids"].ravel() for batch in stream])
    return [token for token in ids.tolist() if token]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("mode", ["concat", "left_aligned"])
def test_every_document_once_in_the_order_of_the_files(tmp_path: Path, kind: str, mode: str) -> None:
    rows = [documents(30, seed) for seed in range(3)]
    for number, own in enumerate(rows):
        write(tmp_path / f"part-{number}.parquet", [*own, None], KINDS[kind])
    source = ParquetSource(tmp_path / "part-*.parquet")
    assert (source.rows, source.vocab_size) == (
        93,
        1 + max(max(row, default=0) for own in rows for row in own),
    )
    stream = TokenStream(
        source, batch_size=3, length=100, mode=mode, shuffle=False, epochs=1, remainder="pad"
    )
    whole = [row for own in rows for row in own]
    if mode == "concat":
        assert tokens(stream) == [token for row in whole for token in row]
    else:
        begun = [
            ids[place]
            for batch in stream
            for ids, positions in zip(batch["input_ids"], batch["position_ids"], strict=True)
            for place in range(100)
            if positions[place] == 0 and ids[place]
        ]
        assert begun == [row[0] for row in whole if row]


def test_patterns(tmp_path: Path) -> None:
    for name in (
        "a.parquet",
        "b/c.parquet",
        "b/d/e1.parquet",
        "b/d/e2.parquet",
        "b/d/f.txt",
        "b/x y[1].parquet",
    ):
        write(tmp_path / name, [[1, 2, 3]])
    for pattern, files in {
        "*.parquet": 1,
        "**/*.parquet": 5,
        "b/**/e?.parquet": 2,
        "b/d/e[12].parquet": 2,
        "b/d/e[!1].parquet": 1,
        "b/d/e1.parquet": 1,
        "b/x y[[]1].parquet": 1,
    }.items():
        assert ParquetSource(tmp_path / pattern).rows == files, pattern
    assert ParquetSource([tmp_path / "a.parquet", tmp_path / "b" / "*.parquet"]).rows == 3
    with pytest.raises(ConfigError, match=r"zz\*: no file matches; give e.g. 'data/\*\*/\*.parquet'"):
        ParquetSource(tmp_path / "zz*")


def test_from_a_store(tmp_path: Path) -> None:
    import fsspec

    write(tmp_path / "a.parquet", documents(20))
    fsspec.filesystem("memory").pipe_file("/texts/a.parquet", (tmp_path / "a.parquet").read_bytes())
    here, there = (
        TokenStream(ParquetSource(where), batch_size=2, length=50, epochs=1, mode="concat")
        for where in (tmp_path / "*.parquet", "memory://texts/*.parquet")
    )
    assert here.state_dict()["identity"] == there.state_dict()["identity"]
    assert tokens(here) == tokens(there)


@pytest.mark.parametrize("kind", ["bool", "uint8", "binary"])
def test_a_loss_mask(tmp_path: Path, kind: str) -> None:
    rows = documents(20)
    masks = [[token % 3 == 0 for token in row] for row in rows]
    made = {
        "bool": lambda: pa.array(masks, pa.list_(pa.bool_())),
        "uint8": lambda: pa.array([[int(m) for m in row] for row in masks], pa.list_(pa.uint8())),
        "binary": lambda: pa.array([bytes(row) for row in masks], pa.binary()),
    }[kind]()
    write(tmp_path / "a.parquet", rows, mask=made)
    source = ParquetSource(tmp_path / "a.parquet", loss_mask="mask")
    for batch in TokenStream(source, batch_size=2, length=50, mode="concat", epochs=1):
        learned = batch["labels"] != LABEL_IGNORED
        assert np.array_equal(learned, (batch["input_ids"] % 3 == 0) & (batch["input_ids"] > 0))


def test_resume_beside_a_task(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", documents(60))

    def stream(**rank: Any) -> TokenStream:
        text, task = ParquetSource(tmp_path / "a.parquet"), TaskSource("mano", {"L": 5})
        mixture = Mixture({"text": (text, 2), "sums": (task, 1)})
        return TokenStream(mixture, batch_size=12, length=40, mode="concat", **rank)

    resume_after_every_step(stream)


def test_changed_files_are_another_source(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", documents(20))
    state = TokenStream(ParquetSource(tmp_path / "a.parquet"), batch_size=2, length=50).state_dict()
    write(tmp_path / "a.parquet", documents(20, seed=5))
    with pytest.raises(OstracaError, match=r"its source\.footers is"):
        TokenStream(ParquetSource(tmp_path / "a.parquet"), batch_size=2, length=50).load_state_dict(state)


@pytest.mark.parametrize(
    ("rows", "more", "words"),
    [
        ([[1]], {"column": "ids"}, "no column 'ids'.*it has text, input_ids"),
        (
            [[1]],
            {"column": "text"},
            "column 'text' is string, not lists of integers; tokenise the texts first",
        ),
        ([[1]], {"loss_mask": "mask"}, "no column 'mask'"),
        ([[1]], {"loss_mask": "text"}, "column 'text' is string, not lists of 0 and 1"),
        ([[1]], {"vocab_size": 0}, "vocab_size=0"),
        ([], {}, "these files have no rows"),
    ],
)
def test_bad_files(tmp_path: Path, rows: list[Any], more: dict[str, Any], words: str) -> None:
    write(tmp_path / "a.parquet", rows)
    with pytest.raises(ConfigError, match=words) as caught:
        ParquetSource(tmp_path / "a.parquet", **more)
    assert "\n" not in str(caught.value)


def test_bad_values(tmp_path: Path) -> None:
    def read(**more: Any) -> None:
        take(
            TokenStream(
                ParquetSource(tmp_path / "a.parquet", **more), batch_size=1, length=4, remainder="wrap"
            ),
            1,
        )

    for rows, kind, words in [
        ([[1, -2]], pa.list_(pa.int32()), "ids from -2 to 1; allowed are 0 to"),
        ([[1, 2**40]], pa.list_(pa.int64()), "allowed are 0 to 2147483647"),
        ([[1, None]], pa.list_(pa.int32()), "has nulls among the values"),
    ]:
        write(tmp_path / "a.parquet", rows, kind)
        with pytest.raises(OstracaError, match=words):
            read()
    write(tmp_path / "a.parquet", [[1, 9]])
    with pytest.raises(OstracaError, match="ids from 1 to 9; allowed are 0 to 8"):
        read(vocab_size=9)
    write(tmp_path / "a.parquet", [[1, 9]], mask=[[1]])
    with pytest.raises(OstracaError, match="a row's mask is not as long as its input_ids"):
        read(loss_mask="mask")
    (tmp_path / "a.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(OstracaError, match="is no Parquet file that can be read"):
        read()
    write(tmp_path / "a.parquet", [[1]])
    write(tmp_path / "b.parquet", [["x"]], pa.list_(pa.string()))
    with pytest.raises(ConfigError, match=r"b.parquet: column 'input_ids' is list<.*, not lists of integers"):
        ParquetSource(tmp_path / "*.parquet")
