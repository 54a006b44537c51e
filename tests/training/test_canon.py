"""Canon against a loop, and against the borders it must not look across."""

import subprocess
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ostraca.training.models.canon import Canon, _FusedSum


def by_loop(canon: Canon, x: torch.Tensor, position_ids: torch.Tensor | None) -> torch.Tensor:
    y = torch.zeros_like(x)
    for row in range(x.shape[0]):
        for t in range(x.shape[1]):
            for j in range(canon.kernel):
                seen = t >= j if position_ids is None else int(position_ids[row, t]) >= j
                if seen:
                    y[row, t] += canon.weight[j] * x[row, t - j]
    if canon.activation:
        y = y / (1 + (-y).exp())
    return x + y if canon.residual else y


@settings(deadline=None, max_examples=40)
@given(
    length=st.integers(1, 9),
    kernel=st.integers(1, 5),
    starts=st.sets(st.integers(1, 8)),
    packed=st.booleans(),
    residual=st.booleans(),
    activation=st.booleans(),
)
def test_is_the_loop(
    length: int, kernel: int, starts: set[int], packed: bool, residual: bool, activation: bool
) -> None:
    canon = Canon(3, kernel, residual=residual, activation=activation).double()
    x = torch.randn(2, length, 3, dtype=torch.float64)
    positions = None
    if packed:
        row = []
        for t in range(length):
            row.append(0 if t == 0 or t in starts else row[-1] + 1)
        positions = torch.tensor([row, list(range(length))])
    torch.testing.assert_close(canon(x, positions), by_loop(canon, x, positions))
    # What `torch.compile` takes in its place, and its gradients.
    linear = residual
    if not activation:
        fused = _FusedSum.apply(x, canon.weight, linear, positions)
        torch.testing.assert_close(fused, by_loop(canon, x, positions))
        if kernel * length < 20:
            given = (x.requires_grad_(), canon.weight, linear, positions)
            torch.autograd.gradcheck(_FusedSum.apply, given)


def test_is_a_depthwise_convolution() -> None:
    canon = Canon(5, 4)
    x = torch.randn(2, 11, 5)
    flipped = canon.weight.flip(0).T[:, None]  # conv1d: [channels, 1, kernel], oldest first
    padded = torch.nn.functional.pad(x.transpose(1, 2), (3, 0))
    expected = x + torch.nn.functional.conv1d(padded, flipped, groups=5).transpose(1, 2)
    torch.testing.assert_close(canon(x), expected)


@torch.no_grad()
def test_begins_with_neighbours_in_sight_and_a_sane_size() -> None:
    torch.manual_seed(0)
    canon = Canon(512)
    assert float(canon.weight.abs().max()) <= 0.5
    assert float(canon.weight.std()) == pytest.approx(0.5 / 3**0.5, rel=0.05)
    assert float(canon(torch.randn(4, 64, 512)).std()) == pytest.approx((1 + 4 / 12) ** 0.5, rel=0.05)


def test_keeps_bfloat16() -> None:
    assert Canon(4)(torch.randn(1, 6, 4, dtype=torch.bfloat16)).dtype == torch.bfloat16


def test_compiled_it_is_few_kernels() -> None:
    """One forward; back one for x, one pass for the sums of all weights, and what puts these together."""
    code = """
import torch
from torch._inductor import metrics
from ostraca.training.models.canon import Canon

canon, x = Canon(64), torch.randn(2, 64, 64, requires_grad=True)
y = torch.compile(canon, dynamic=False)(x)
print(metrics.generated_kernel_count)
y.backward(torch.randn_like(y))
print(metrics.generated_kernel_count)
torch.testing.assert_close(y, canon(x))
"""
    # In a process of its own: torch's compiler warns of its own ways.
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == ["1", "4"]
