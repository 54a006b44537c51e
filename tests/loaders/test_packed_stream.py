"""TokenStream of packed rows: a row a line, positions anew in each document, exact resume, real readers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from streams import resume_after_every_step

from ostraca.loaders import Blocks, Rows, TaskSource, TokenStream
from ostraca.pipeline.corpus.pack import pack_batch
from ostraca.pipeline.corpus.packed import unpack_batch
from ostraca.pipeline.spec.packing import PACK_MODES
from ostraca.tasks import get_task
from ostraca.tasks.core.batch import LABEL_IGNORED, column, list_type
from ostraca.tasks.errors import ConfigError
from ostraca.tasks.examples import complete_config, generate_batches

CONFIG = {"N": 20, "K": 4, "M": 5}
LENGTH = 130  # no example has more than 111 tokens


class MemorySource:
    """Blocks of packed rows."""

    vocab_size = 10_000
    row_length: int | None = LENGTH
    identity: Mapping[str, Any] = {"kind": "memory"}
    recipe = None

    def __init__(self, batches: list[pa.RecordBatch]) -> None:
        self._batches = batches

    def blocks(self, tokens: bool) -> Blocks:
        rows = np.array([batch.num_rows for batch in self._batches])
        return Blocks(rows=rows, tokens=0 * rows, strata=(len(rows),), names=("memory",))

    def read(self, blocks: Sequence[int]) -> Rows:
        return Rows.of(pa.concat_batches([self._batches[block] for block in blocks]))


def plain(batches: list[pa.RecordBatch], **more: Any) -> TokenStream:
    """Their rows once, in order."""
    settings = {"batch_size": 1, "shuffle": False, "epochs": 1, "remainder": "pad", **more}
    return TokenStream(MemorySource(batches), **settings)


def groups(mode: str) -> list[pa.RecordBatch]:
    """Some groups of examples, packed; one of them a slice of its rows."""
    task = get_task("depo")
    config = complete_config(task, CONFIG, 0)
    (batch,) = generate_batches(task, config, 0, "train", 0, 150)
    packed = [pack_batch(batch.slice(start, 50), LENGTH, mode) for start in (0, 50, 100)]
    return [packed[0], packed[1].slice(2, 5), packed[2]]


def line_by_hand(row: dict[str, Any], length: int, pad_id: int) -> tuple[list[int], list[int], list[int]]:
    """(input_ids, labels, position_ids) of one packed row, one token at a time."""
    ids, labels, positions = [], [], []
    for place in range(length):
        if place >= len(row["input_ids"]):
            token, learned, position = pad_id, 0, 0
        else:
            token, learned = row["input_ids"][place], row["loss_mask"][place]
            position = place - max(start for start in row["starts"] if start <= place)
        ids.append(token)
        labels.append(token if learned else LABEL_IGNORED)
        positions.append(position)
    return ids, labels, positions


@pytest.mark.parametrize("mode", PACK_MODES)
@pytest.mark.parametrize(("batch_size", "length"), [(1, LENGTH), (4, LENGTH + 7), (100, LENGTH)])
def test_lines_are_rows_as_by_hand(mode: str, batch_size: int, length: int) -> None:
    batches = groups(mode)
    stream = plain(batches, batch_size=batch_size, length=length, mode="packed", pad_id=77)
    rows = [row for batch in batches for row in batch.to_pylist()]
    lines: list[Any] = []
    for batch in stream:
        assert list(batch) == ["input_ids", "labels", "position_ids"]
        assert {array.dtype for array in batch.values()} == {np.dtype(np.int64)}
        lines += zip(*(array.tolist() for array in batch.values()), strict=True)
        assert {array.shape for array in batch.values()} == {(batch_size, length)}
    empty: dict[str, Any] = {"input_ids": [], "loss_mask": [], "starts": []}
    rows += [empty] * (-len(rows) % batch_size)
    assert lines == [line_by_hand(row, length, 77) for row in rows]
    assert stream.examples_seen == sum(len(row["starts"]) for row in rows)


@pytest.mark.parametrize("mode", PACK_MODES)
def test_resume_at_every_step(mode: str) -> None:
    batches = groups(mode)
    resume_after_every_step(lambda **rank: TokenStream(MemorySource(batches), batch_size=12, **rank))


@pytest.mark.parametrize("mode", ["left_aligned", "padded"])
def test_other_modes_refuse_packed_rows(mode: str) -> None:
    with pytest.raises(ConfigError, match=f"mode='{mode}' lays single.*take mode='packed'") as caught:
        TokenStream(MemorySource(groups("whole")), batch_size=2, length=LENGTH, mode=mode)
    assert "\n" not in str(caught.value)


def test_single_examples_are_refused() -> None:
    with pytest.raises(
        ConfigError, match=r"mode='packed' reads rows that.*build the corpus with pack"
    ) as caught:
        TokenStream(TaskSource("depo", CONFIG), batch_size=2, length=LENGTH, mode="packed")
    assert "\n" not in str(caught.value)


def test_a_longer_row_is_refused() -> None:
    source = MemorySource(groups("concat"))
    stream = TokenStream(source, batch_size=2, length=LENGTH - 1, mode="packed")
    with pytest.raises(ConfigError, match=f"length={LENGTH - 1}: a packed row has {LENGTH} tokens") as caught:
        next(iter(stream))
    assert "\n" not in str(caught.value)
    assert stream.examples_seen == 0


def test_by_default_packed_rows_come_as_they_are() -> None:
    """Without mode and length: what the corpus was packed to."""
    said, default = (
        TokenStream(MemorySource(groups("concat")), batch_size=2, epochs=1, **more)
        for more in ({"length": LENGTH, "mode": "packed"}, {})
    )
    assert default.state_dict() == said.state_dict()
    for a, b in zip(default, said, strict=True):
        assert all(np.array_equal(a[name], b[name]) for name in b)
    with pytest.raises(ConfigError, match="length=0"):
        TokenStream(MemorySource(groups("concat")), batch_size=2, length=0)
    single = TokenStream(TaskSource("depo", CONFIG), batch_size=2, length=LENGTH)
    assert single.state_dict()["identity"]["mode"] == "left_aligned"


def test_a_stream_of_another_mode_does_not_take_the_state() -> None:
    source = MemorySource(groups("whole"))
    state = TokenStream(source, batch_size=2, length=LENGTH, mode="packed").state_dict()
    source.row_length = None
    other = TokenStream(source, batch_size=2, length=LENGTH, mode="padded")
    with pytest.raises(Exception, match=r"its (mode is 'packed', this one's is 'padded'|length)"):
        other.load_state_dict(state)


@pytest.mark.parametrize("starts", [[[0, 99], [0]], [[0, -3], [0, 1]], [[2, 1, 99, -7], [1]], [[], []]])
def test_wrong_starts_touch_no_other_line(starts: list[list[int]]) -> None:
    """Positions of such a row may be wrong; nothing outside it is written."""
    names = ("input_ids", "loss_mask", "starts")
    types = (pa.int32(), pa.uint8(), pa.int32())
    schema = pa.schema([column(name, list_type(each)) for name, each in zip(names, types, strict=True)])
    columns = {"input_ids": [[1, 2, 3], [4, 5, 6]], "loss_mask": [[1, 0, 1], [1, 1, 1]], "starts": starts}
    batch = pa.RecordBatch.from_pydict(columns, schema=schema)
    (made,) = plain([batch], batch_size=2, length=4, mode="packed")
    assert sorted(made["input_ids"].tolist()) == [[1, 2, 3, 0], [4, 5, 6, 0]]
    assert made["position_ids"].min() == 0
    assert made["position_ids"].max() < 3
    assert not made["position_ids"][:, 3].any()


def test_positions_are_those_of_the_flattening_collator() -> None:
    """What transformers makes of the same documents for its attention without padding."""
    pytest.importorskip("transformers")
    from transformers import DataCollatorWithFlattening

    packed = groups("best_fit")[0]
    (batch,) = plain([packed], batch_size=packed.num_rows)
    for line in range(packed.num_rows):
        pieces = unpack_batch(packed.slice(line, 1)).to_pylist()
        flat = DataCollatorWithFlattening()([{"input_ids": piece["input_ids"]} for piece in pieces])
        kept = flat["input_ids"].shape[1]
        assert batch["input_ids"][line, :kept].tolist() == flat["input_ids"][0].tolist()
        assert batch["position_ids"][line, :kept].tolist() == flat["position_ids"][0].tolist()


def test_a_model_of_transformers_sees_each_document_alone() -> None:
    """Llama reads the borders from the positions: a packed line's logits are those of its documents.

    Without a cache, as in training.
    """
    torch = pytest.importorskip("torch")
    pytest.importorskip("transformers")
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=10_000,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=256,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = LlamaForCausalLM(config).eval()
    packed = groups("whole")[0].slice(0, 3)
    (batch,) = plain([packed], batch_size=3)
    with torch.no_grad():
        ids, positions = (torch.from_numpy(batch[name]) for name in ("input_ids", "position_ids"))
        together = model(input_ids=ids, position_ids=positions, use_cache=False).logits
        for line in range(3):
            place = 0
            for piece in unpack_batch(packed.slice(line, 1)).to_pylist():
                alone = model(input_ids=torch.tensor([piece["input_ids"]])).logits[0]
                torch.testing.assert_close(together[line, place : place + len(alone)], alone)
                place += len(alone)
            assert place == len(packed["input_ids"][line])
