"""What is done by hand on a CPU against the plain formulas: values, gradients, and in which cases."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from small import tiny_llama
from torch import Tensor
from torch.autograd import gradcheck

from ostraca.training.models import canon, pointwise
from ostraca.training.models.canon import Canon
from ostraca.training.models.pointwise import RMSNorm, Rope, rotate, swiglu

STARTS = torch.tensor([[0, 1, 2, 0, 1, 2, 3], [0, 0, 1, 2, 3, 4, 5]])


def numbers(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(2)
    return torch.randn(shape, dtype=dtype, generator=generator).requires_grad_()


def norm() -> RMSNorm:
    made = RMSNorm(8).double()
    made.weight.data.copy_(numbers(8))
    return made


def canon_of(**form: Any) -> Callable[[Tensor], Tensor]:
    layer = Canon(8, **form).double()
    return lambda x: layer(x, STARTS)


FUNCTIONS: dict[str, tuple[Callable[[Tensor], Tensor], tuple[int, ...]]] = {
    "rms_norm": (norm(), (2, 7, 8)),
    "swiglu": (swiglu, (2, 7, 8)),
    "rope": (lambda x: rotate(x, Rope(8, 8, 100.0).double()(7)), (2, 7, 3, 8)),
    "partial_rope": (lambda x: rotate(x, Rope(8, 4, 100.0).double()(7, STARTS)), (2, 7, 3, 8)),
    "canon": (Canon(8).double(), (2, 7, 8)),
    "canon_longer_than_rows": (Canon(8, 5).double(), (2, 3, 8)),
    "canon_packed": (canon_of(kernel=3), (2, 7, 8)),
    "canon_activated": (canon_of(activation=True, residual=False), (2, 7, 8)),
}


@pytest.fixture
def plainly(monkeypatch: pytest.MonkeyPatch) -> Callable[[bool], None]:
    """Call with True: from now on the plain formulas are taken on a CPU too."""

    def switch(plain: bool) -> None:
        for module in (pointwise, canon):
            monkeypatch.setattr(module, "by_hand", (lambda *tensors: False) if plain else pointwise.by_hand)

    return switch


@pytest.mark.parametrize("name", FUNCTIONS)
def test_is_the_plain_formula(name: str, plainly: Callable[[bool], None]) -> None:
    function, shape = FUNCTIONS[name]
    parameters = list(function.parameters()) if isinstance(function, torch.nn.Module) else []
    x, weights = numbers(*shape), torch.randn(())
    results = []
    for plain in (False, True):
        plainly(plain)
        y = function(x)
        weights = torch.linspace(-1, 1, y.numel(), dtype=y.dtype).view_as(y)
        results.append((y, *torch.autograd.grad((y * weights).sum(), [x, *parameters])))
    for mine, plain_one in zip(*results, strict=True):
        torch.testing.assert_close(mine, plain_one)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_gradients_are_exact(name: str) -> None:
    function, shape = FUNCTIONS[name]
    assert gradcheck(function, (numbers(*shape),))


def test_gradients_of_weights_are_exact() -> None:
    x, weight = numbers(2, 5, 8), numbers(8)
    assert gradcheck(lambda x, weight: pointwise._RMSNorm.apply(x, weight, 1e-6), (x, weight))
    near = canon._near(STARTS[:, :5], 3)
    for linear in (True, False):
        for seen in (None, near):
            assert gradcheck(
                lambda x, weight, linear=linear, seen=seen: canon._Sum.apply(x, weight, linear, seen),
                (x, numbers(3, 8)),
            )


@pytest.mark.parametrize("name", FUNCTIONS)
def test_sixteen_bits_stay_sixteen_bits(name: str) -> None:
    function, shape = FUNCTIONS[name]
    assert function(numbers(*shape, dtype=torch.bfloat16)).dtype == torch.bfloat16


# torch's compiler is told by torch's autograd not to do as it does.
@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")
@pytest.mark.parametrize("form", [{}, {"rope_fraction": 0.5, "canon": "ABCD", "qk_norm": True}])
def test_a_compiled_llama_is_the_same(form: dict[str, Any]) -> None:
    """With `eager` as its compiler: what is captured, not what is made of it."""
    plain, compiled = tiny_llama(**form), tiny_llama(**form)
    compiled.compile_hidden(backend="aot_eager", fullgraph=True)
    tokens = torch.randint(0, 18, STARTS.shape)
    for model in (plain, compiled):
        model(tokens, STARTS).square().mean().backward()
    torch.testing.assert_close(compiled(tokens, STARTS), plain(tokens, STARTS), rtol=1e-4, atol=1e-5)
    for mine, other in zip(plain.parameters(), compiled.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, other.grad, rtol=1e-4, atol=1e-5)


def test_norms_give_what_autocast_works_in() -> None:
    x = torch.randn(2, 5, 8)
    plain = pointwise.RMSNorm(8)(x)
    with torch.autocast("cpu", torch.bfloat16):
        half = pointwise.RMSNorm(8)(x)
        assert canon.Canon(8)(half).dtype == torch.bfloat16
    assert (plain.dtype, half.dtype) == (torch.float32, torch.bfloat16)
    torch.testing.assert_close(half.float(), plain, rtol=1e-2, atol=1e-2)
