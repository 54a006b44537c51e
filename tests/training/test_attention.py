"""Who sees whom: masks and borders against loops, and the packed layout against each example alone."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small import tiny_llama
from torch.nn.functional import scaled_dot_product_attention

from ostraca.training.models import attention, llama
from ostraca.training.models.attention import Seen, attend, can_pack, document_borders, document_mask, seen

LENGTHS = st.lists(st.integers(1, 5), min_size=1, max_size=4)


def rows_of(lengths: list[list[int]], width: int = 20) -> torch.Tensor:
    """Positions of rows of so many examples each; what is left of a row is one more."""
    rows = [[at for one in [*row, width - sum(row)] for at in range(one)] for row in lengths]
    return torch.tensor(rows)


def by_loop(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, borders: torch.Tensor, longest: int, window: int | None
) -> torch.Tensor:
    """`within_borders`, example after example."""
    out = torch.full_like(q, torch.nan)
    for begin, end in zip(borders[:-1].tolist(), borders[1:].tolist(), strict=True):
        assert 0 <= end - begin <= longest
        if begin == end:
            continue
        parts = (part[begin:end].transpose(0, 1) for part in (q, k, v))
        near = torch.ones(end - begin, end - begin, dtype=torch.bool).tril()
        near = near if window is None else near.triu(1 - window)
        out[begin:end] = scaled_dot_product_attention(*parts, attn_mask=near).transpose(0, 1)
    return out


def test_document_mask_by_hand() -> None:
    mask = document_mask(torch.tensor([[0, 1, 0, 1]]))[0, 0]
    expected = [[1, 0, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 1, 1]]
    assert mask.int().tolist() == expected


@settings(deadline=None, max_examples=40)
@given(lengths=st.lists(LENGTHS, min_size=1, max_size=4), padding=st.booleans())
def test_borders_are_where_examples_begin(lengths: list[list[int]], padding: bool) -> None:
    positions = rows_of(lengths)
    if padding:
        positions[:, -2:] = 0
    expected = []
    for row, values in enumerate(positions.tolist()):
        rest = len(values)  # from here on the row is filled up
        while rest > 1 and values[rest - 1] == values[rest - 2] == 0:
            rest -= 1
        expected += [row * len(values) + at for at, value in enumerate(values[:rest]) if value == 0]
    borders = document_borders(positions)
    assert borders.dtype == torch.int32
    assert borders[: len(expected)].tolist() == expected
    rest = borders[len(expected) :].tolist()
    assert rest
    assert set(rest) == {positions.numel()}
    assert len(borders) & (len(borders) - 1) == 0  # few shapes


@settings(deadline=None, max_examples=40)
@given(
    lengths=st.lists(LENGTHS, min_size=2, max_size=2),
    documents=st.booleans(),
    window=st.sampled_from([None, 1, 3, 20, 30]),
)
def test_packed_rows_are_the_masked_ones(
    lengths: list[list[int]], documents: bool, window: int | None
) -> None:
    """What goes to the kernel of GPUs, with a loop in its place, and what stands for it elsewhere."""
    positions = rows_of(lengths) if documents else None
    like = torch.zeros(2, 20, dtype=torch.int64)
    q, k, v = torch.randn(3, 2, 20, 3, 8)
    packed, masked = (seen(like, positions, window, packs) for packs in (True, False))
    assert masked.borders is None
    assert packed.mask is None
    assert (packed.borders is None) == (positions is None and window in (None, 20, 30))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(attention, "within_borders", by_loop)
        torch.testing.assert_close(attend(q, k, v, packed), attend(q, k, v, masked), rtol=1e-4, atol=1e-5)


def test_more_examples_than_a_gpu_takes_are_masked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attention, "_MOST_BORDERS", 4)
    positions = torch.tensor([[0, 1, 0, 1, 0, 1, 0, 1]])
    assert isinstance(seen(positions, positions, None, True).mask, torch.Tensor)
    assert isinstance(seen(positions[:, :3], positions[:, :3], None, True).borders, torch.Tensor)


@torch.no_grad()
@pytest.mark.parametrize("form", [{}, {"sliding_window": 3}, {"rope_fraction": 0.5, "qk_norm": True}])
def test_a_llama_takes_the_packed_way_where_there_is_one(
    form: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny_llama(**form)
    positions = rows_of([[4, 3], [1, 9, 2]])
    tokens = torch.randint(0, 18, positions.shape)
    expected, calls = model(tokens, positions), []

    def counted(*given: object) -> torch.Tensor:
        calls.append(given)
        return by_loop(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(llama, "can_pack", lambda device, dtype, head_dim: True)
    monkeypatch.setattr(attention, "within_borders", counted)
    torch.testing.assert_close(model(tokens, positions), expected, rtol=1e-4, atol=1e-5)
    assert len(calls) == 2
    assert calls[0][3] is calls[1][3]  # borders are made once a step, not once a layer


def test_a_cpu_does_not_pack() -> None:
    assert not can_pack(torch.device("cpu"), torch.bfloat16, 64)
    assert not can_pack(torch.device("cuda"), torch.float32, 64)
    assert not can_pack(torch.device("cuda"), torch.bfloat16, 12)
    assert seen(torch.zeros(1, 4), None, None, False) == Seen()


def test_what_fills_a_row_up_is_one_example() -> None:
    positions = torch.tensor([[0, 1, 2, 0, 1, 0, 0, 0], [0, 1, 0, 0, 1, 2, 3, 4]])
    borders = attention.document_borders(positions)
    assert borders.unique().tolist() == [0, 3, 5, 8, 10, 11, 16]
