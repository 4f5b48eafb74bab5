"""Operators that come down to products: near torch's FP32, and bit for bit the matrix products they are made of."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("torch")

import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils import rnn

from charlib.errors import BadInput
from system.train import audit_of, convert

pytestmark = pytest.mark.train

#: two operands and the result are rounded to BF16 (2^-9 each, relative); two products deep, twice that
TOLERANCE = 6 * 2.0**-9


class Applied(nn.Module):
    """A function as a module, so that its products can be converted; parameters of its own, if it is given any."""

    def __init__(self, function: Callable[..., Any], **weights: torch.Tensor) -> None:
        super().__init__()
        self.function = function
        for name, value in weights.items():
            self.register_parameter(name, nn.Parameter(value.clone()))

    def forward(self, *inputs: torch.Tensor) -> Any:
        return self.function(*inputs, **dict(self.named_parameters()))


def floats(value: Any) -> list[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        return [value] if value.is_floating_point() else []
    return [x for part in value if part is not None for x in floats(part)] if isinstance(value, (list, tuple)) else []


def results(model: nn.Module, *inputs: Any) -> list[torch.Tensor]:
    """Every output, input gradient and parameter gradient for fixed incoming gradients."""
    given = [x.detach().clone().requires_grad_() if isinstance(x, torch.Tensor) else x for x in inputs]
    out, make = floats(model(*given)), torch.Generator().manual_seed(9)
    torch.autograd.backward(out, [torch.randn(z.shape, generator=make) for z in out])
    grads = [x.grad for x in given if isinstance(x, torch.Tensor)] + [p.grad for p in model.parameters()]
    return [z.detach() for z in (*out, *grads) if z is not None]


def error(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a - b).norm() / b.norm().clamp(min=1e-30))


def drawn(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


VOLUME, IMAGE, LINE, STEPS = (2, 6, 4, 6, 5), (3, 6, 7, 5), (3, 6, 7), (5, 3, 12)
LAYERS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "lstm": (lambda: nn.LSTM(12, 16, 2, bidirectional=True, batch_first=True), (3, 5, 12)),
    "lstm, projected": (lambda: nn.LSTM(12, 16, proj_size=7, bias=False), STEPS),
    "gru": (lambda: nn.GRU(12, 16, bidirectional=True), STEPS),
    "rnn": (lambda: nn.RNN(12, 16, 2, nonlinearity="relu"), STEPS),
    "rnn, one sample": (lambda: nn.RNN(12, 16), (5, 12)),
    "lstm cell": (lambda: nn.LSTMCell(12, 16), (3, 12)), "gru cell": (lambda: nn.GRUCell(12, 16, bias=False), (12,)),
    "rnn cell": (lambda: nn.RNNCell(12, 16, nonlinearity="relu"), (3, 12)),
    "transposed 1-d": (lambda: nn.ConvTranspose1d(6, 8, 3, 2, 1, 1, groups=2), LINE),
    "transposed 2-d": (lambda: nn.ConvTranspose2d(6, 8, (3, 2), (2, 3), (1, 0), (1, 2), dilation=(2, 1)), IMAGE),
    "transposed, border beyond a stride": (lambda: nn.ConvTranspose2d(6, 8, 3, 1, 1, 1, dilation=2), IMAGE),
    "transposed depthwise, no batch": (lambda: nn.ConvTranspose2d(6, 6, 3, 2, 1, groups=6), IMAGE[1:]),
    "transposed 3-d": (lambda: nn.ConvTranspose3d(6, 4, (3, 2, 3), (2, 1, 2), (1, 0, 1), (1, 0, 0), 2), VOLUME),
    "transposed 3-d, gaps": (lambda: nn.ConvTranspose3d(6, 4, 1, stride=2, bias=False), VOLUME),
    "conv3d": (lambda: nn.Conv3d(6, 8, (3, 2, 3), (2, 1, 1), (1, 0, 1), (1, 2, 1), 2), VOLUME),
    "conv3d, same": (lambda: nn.Conv3d(6, 5, (3, 1, 3), padding="same"), VOLUME),
    "conv3d, depthwise": (lambda: nn.Conv3d(6, 6, 3, padding=1, groups=6), VOLUME),
    "conv3d, pointwise, no batch": (lambda: nn.Conv3d(6, 5, 1, stride=2), VOLUME[1:]),
}
OPERATORS: dict[str, tuple[Callable[..., Any], tuple[tuple[int, ...], ...]]] = {
    "linalg.matmul": (torch.linalg.matmul, ((3, 4, 5), (5, 6))),
    "rmatmul": (lambda a, b: a.__rmatmul__(b), ((4, 5), (3, 4))),
    "tensordot": (lambda a, b: torch.tensordot(a, b, ([2, 0], [1, -1])), ((3, 4, 5), (6, 5, 3))),
    "tensordot by count": (lambda a, b: torch.tensordot(a, b, dims=2), ((3, 4, 5), (4, 5, 6))),
    "inner": (torch.inner, ((3, 4, 5), (2, 6, 5))), "vecdot": (torch.linalg.vecdot, ((9,), (9,))),
    "multi_dot": (lambda *x: torch.linalg.multi_dot(x), ((5,), (5, 30), (30, 2), (2, 6))),
    "addbmm": (lambda i, a, b: torch.addbmm(i, a, b, beta=0.5, alpha=2), ((3, 6), (4, 3, 5), (4, 5, 6))),
    "addbmm_": (lambda i, a, b: i.clone().addbmm_(a, b), ((3, 6), (4, 3, 5), (4, 5, 6))),
    "baddbmm": (torch.baddbmm, ((4, 3, 6), (4, 3, 5), (4, 5, 6))), "addr": (torch.addr, ((3, 4), (3,), (4,))),
    "matrix_power": (lambda a: torch.linalg.matrix_power(a, 3), ((2, 5, 5),)),
    "bilinear": (lambda a, b, w: functional.bilinear(a, b, w), ((2, 3, 6), (2, 3, 7), (4, 6, 7))),
    "convolution": (lambda x, w: torch.convolution(x, w, None, [2], [1], [1], False, [0], 1), ((2, 3, 9), (4, 3, 3))),
    "einsum, ellipsis": (lambda a, b: torch.einsum("...i,ij->...j", a, b), ((2, 3, 4), (4, 5))),
    "einsum, ellipses that broadcast": (lambda a, b: torch.einsum("...ij,...jk", a, b), ((2, 1, 3, 4), (5, 4, 6))),
    "einsum of three": (lambda *x: torch.einsum("bi,ij,bj->b", *x), ((3, 4), (4, 5), (3, 5))),
    "einsum, a diagonal": (lambda a, b: torch.einsum("iij,jk->ik", a, b), ((3, 3, 4), (4, 5))),
    "einsum, a size of one": (lambda a, b: torch.einsum("ij,jk->ik", a, b), ((3, 1), (4, 5))),
}


@pytest.mark.parametrize("numerics", ["imc", "bf16"])
@pytest.mark.parametrize(("make", "shape"), LAYERS.values(), ids=LAYERS.keys())
def test_every_layer_is_near_fp32_and_all_of_it_on_the_arrays(make: Callable[[], nn.Module], shape: tuple[int, ...],
                                                              numerics: str) -> None:
    torch.manual_seed(0)
    plain, x = make(), drawn(*shape)
    near(plain, convert(copy.deepcopy(plain), numerics), x)


@pytest.mark.parametrize(("function", "shapes"), OPERATORS.values(), ids=OPERATORS.keys())
def test_every_operator_is_near_fp32(function: Callable[..., Any], shapes: tuple[tuple[int, ...], ...]) -> None:
    near(Applied(function), convert(Applied(function)), *(drawn(*shape) for shape in shapes))


def near(plain: nn.Module, model: nn.Module, *inputs: torch.Tensor) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", message=".*(oneDNN|Triggered internally)")  # torch's own
        wanted = results(plain, *inputs)
        got = results(model, *inputs)
    assert len(got) == len(wanted) >= 2
    assert [x.shape for x in got] == [x.shape for x in wanted]
    assert max(error(a, b) for a, b in zip(got, wanted, strict=True)) < TOLERANCE
    assert any(not torch.equal(a, b) for a, b in zip(got, wanted, strict=True))
    assert audit_of(model).share == 0
    assert audit_of(model).total > 0


def test_packed_sequences_end_and_begin_where_they_do() -> None:
    torch.manual_seed(1)
    packed = rnn.pack_sequence([drawn(n, 12) for n in (6, 4, 4, 1)])
    for plain in (nn.LSTM(12, 8, 2, bidirectional=True), nn.GRU(12, 8, bidirectional=True), nn.RNN(12, 8)):
        (rows, *_), last = plain(packed)
        (found, *_), state = convert(copy.deepcopy(plain))(packed)
        for got, want in zip([found, *floats(state)], [rows, *floats(last)], strict=True):
            assert got.shape == want.shape
            assert error(got.detach(), want.detach()) < TOLERANCE


def same(model: nn.Module, by_hand: nn.Module, *inputs: torch.Tensor) -> None:
    """Values and gradients, bit for bit."""
    for a, b in zip(results(convert(model), *inputs), results(convert(by_hand), *inputs), strict=True):
        assert torch.equal(a, b)


def test_a_lstm_is_two_products_a_step() -> None:
    layer = nn.LSTM(12, 16)

    def by_hand(x: torch.Tensor, weight_ih_l0: torch.Tensor, weight_hh_l0: torch.Tensor, bias_ih_l0: torch.Tensor,
                bias_hh_l0: torch.Tensor) -> tuple[torch.Tensor, ...]:
        h, c, out = torch.zeros(3, 16), torch.zeros(3, 16), []
        for share in (x.reshape(-1, 12) @ weight_ih_l0.T + bias_ih_l0).reshape(5, 3, -1):
            i, f, g, o = (share + (h @ weight_hh_l0.T + bias_hh_l0)).split(16, dim=1)
            c = f.sigmoid() * c + i.sigmoid() * g.tanh()
            h = o.sigmoid() * c.tanh()
            out.append(h)
        return torch.stack(out), h[None], c[None]

    weights = {name: p.detach() for name, p in layer.named_parameters()}
    same(layer, Applied(by_hand, **weights), drawn(*STEPS))


def test_a_transposed_convolution_is_a_product_a_patch_and_sums_in_fp32() -> None:
    layer = nn.ConvTranspose2d(6, 4, 3, 2, 1, bias=False)

    def by_hand(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        patches = x.flatten(2).transpose(1, 2).reshape(-1, 6) @ weight.reshape(6, 36)  # 4 · 9 words
        return functional.fold(patches.reshape(3, 35, 36).transpose(1, 2), (13, 9), 3, padding=1, stride=2)

    same(layer, Applied(by_hand, weight=layer.weight.detach()), drawn(*IMAGE))


def test_a_3_d_convolution_is_one_sum_over_depth_rows_and_columns() -> None:
    layer = nn.Conv3d(6, 5, 2, bias=False)

    def by_hand(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        cut = x.unfold(2, 2, 1).unfold(3, 2, 1).unfold(4, 2, 1)  # (n, c, d', h', w', kd, kh, kw)
        rows = cut.permute(0, 2, 3, 4, 1, 5, 6, 7).reshape(-1, 48)
        return (rows @ weight.reshape(5, 48).T).reshape(2, 3, 5, 4, 5).permute(0, 4, 1, 2, 3)

    plain, x = Applied(by_hand, weight=layer.weight.detach()), drawn(*VOLUME)
    got, want = results(convert(layer), x), results(convert(plain), x)
    assert torch.equal(got[0], want[0])
    assert torch.equal(got[2], want[2])
    assert error(got[1], want[1]) < 1e-6  # torch's unfold adds an input's gradients in an order of its own


@pytest.mark.parametrize(("function", "by_hand", "shapes"), [
    (torch.inner, lambda a, b: a @ b.T, ((3, 5), (4, 5))),
    (torch.addr, lambda c, a, b: c + a[:, None] @ b[None], ((3, 4), (3,), (4,))),
    (lambda a, b: torch.tensordot(a, b, 1), lambda a, b: a @ b, ((2, 3, 5), (5, 4))),
    (lambda *x: torch.linalg.multi_dot(x), lambda a, b, c: a @ (b @ c), ((3, 30), (30, 20), (20, 2))),
    (lambda a: torch.matrix_power(a, 3), lambda a: a @ (a @ a), ((5, 5),)),
    (lambda *x: torch.einsum("bi,ij,jk->bk", *x), lambda a, b, c: (a @ b) @ c, ((3, 4), (4, 5), (5, 6))),
    (lambda a, b: torch.einsum("...i,ij->...j", a, b), lambda a, b: (a.reshape(6, 4) @ b).reshape(2, 3, 5),
     ((2, 3, 4), (4, 5))),
    (lambda c, a, b: torch.addbmm(c, a, b), lambda c, a, b: c + torch.cat([*a], 1) @ torch.cat([*b]),
     ((3, 6), (4, 3, 5), (4, 5, 6))),
], ids=["inner", "addr", "tensordot", "multi_dot", "matrix_power", "einsum of three", "ellipsis", "addbmm"])
def test_operators_are_the_products_they_are_made_of(function: Callable[..., Any], by_hand: Callable[..., Any],
                                                     shapes: tuple[tuple[int, ...], ...]) -> None:
    same(Applied(function), Applied(by_hand), *(drawn(*shape) for shape in shapes))


@pytest.mark.parametrize(("function", "shapes"), [
    (lambda a, b: torch.einsum("i,j->ij", a, b), ((16,), (8,))),
    (lambda a, b: torch.einsum("bld,bln->bldn", a, b), ((2, 3, 4), (2, 3, 5))),
    (lambda a, b: torch.einsum("bij,j->bij", a, b), ((2, 3, 4), (4,))),
    (torch.linalg.vecdot, ((3, 4, 9), (4, 9))), (torch.outer, ((16,), (8,))),
], ids=["outer by einsum", "batched outer", "scaled columns", "vecdot", "outer"])
def test_what_torch_multiplies_element_by_element_stays_in_fp32(function: Callable[..., Any],
                                                                shapes: tuple[tuple[int, ...], ...]) -> None:
    plain, model = Applied(function), convert(Applied(function))
    inputs = [drawn(*shape) for shape in shapes]
    for got, want in zip(results(model, *inputs), results(plain, *inputs), strict=True):
        torch.testing.assert_close(got, want, rtol=1e-6, atol=1e-6)
    assert audit_of(model).total == 0


@pytest.mark.parametrize("numerics", ["imc", "bf16"])
@pytest.mark.parametrize(("make", "shape"), [
    (lambda: nn.Linear(4, 3), (0, 4)), (lambda: nn.Conv2d(3, 4, 3), (0, 3, 8, 8)),
    (lambda: nn.Conv2d(3, 4, 1), (0, 3, 8, 8)),
    (lambda: nn.Conv2d(4, 4, 3, groups=4), (0, 4, 8, 8)), (lambda: nn.ConvTranspose2d(3, 4, 3), (0, 3, 8, 8)),
    (lambda: nn.Conv3d(3, 4, 3), (0, 3, 5, 5, 5)), (lambda: nn.LSTM(4, 3), (5, 0, 4)),
    (lambda: nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), (0, 5, 8)),
])
def test_an_empty_batch_gives_what_torch_gives(make: Callable[[], nn.Module], shape: tuple[int, ...], numerics: str
                                               ) -> None:
    plain, x = make(), torch.empty(shape)
    got, wanted = results(convert(copy.deepcopy(plain), numerics), x), results(plain, x)
    for one, other in zip(got, wanted, strict=True):
        assert torch.equal(one, other)


def test_sums_over_nothing_are_zero() -> None:
    assert torch.equal(convert(Applied(torch.matmul))(torch.empty(3, 0), torch.empty(0, 4)), torch.zeros(3, 4))


@pytest.mark.parametrize(("make", "shapes", "message"), [
    (lambda: nn.Linear(4, 2), [(3, 5)], r"linear: an input of shape \(…, 4\) is expected by the weight \(2, 4\), got "
     r"\(3, 5\); give the input that many features or the layer these"),
    (lambda: nn.Conv2d(4, 2, 3), [(3, 5, 8, 8)], r"conv2d: an input of shape \(n, 4, h, w\) is expected by the "
     r"weight \(2, 4, 3, 3\) with groups 1, got \(3, 5, 8, 8\); "
     "give the input that many channels or the layer these"),
    (lambda: nn.Conv2d(4, 2, 3), [(3, 4, 2, 8)], r"conv2d: an input of at least \(3, 3\) is expected by the kernel, "
     r"got \(2, 8\) with padding \(0, 0\); give larger inputs or fewer strides before"),
    (lambda: nn.ConvTranspose1d(4, 2, 3), [(3, 5, 8)], r"conv_transpose1d: an input of shape \(n, 4, l\) is .*"),
    (lambda: Applied(torch.matmul), [(3, 5), (4, 5)], r"matmul: shapes \(…, m, k\) and \(…, k, n\) are expected, got "
     r"\(3, 5\) and \(4, 5\); transpose or reshape one"),
    (lambda: Applied(torch.mm), [(1, 3, 4), (4, 5)], r"mm: operands of 2 and 2 axes are expected, got \(1, 3, 4\) "
     r"and \(4, 5\); use matmul for others"),
    (lambda: Applied(torch.bmm), [(1, 3, 4), (2, 4, 5)], r"bmm: operands of 3 and 3 axes and one batch are .*"),
    (lambda: Applied(lambda a, b: torch.einsum("ij,jk->ik", a, b)), [(2, 3), (4, 5)], r"einsum: one size for each "
     r"subscript is expected, got 3 and 4 for 'j' in 'ij,jk->ik'; operands are of shapes \(2, 3\), \(4, 5\)"),
    (lambda: Applied(lambda a, b: torch.einsum("ij,jk->iz", a, b)), [(2, 3), (3, 5)], "einsum: each subscript of .*"),
    (lambda: Applied(lambda a: torch.einsum("ij,jk", a)), [(2, 3)], "einsum: an operand for each part .*: 2, got 1"),
    (lambda: Applied(lambda a, b: torch.einsum("ijk,kl", a, b)), [(2, 3), (3, 5)], "einsum: a subscript for each .*"),
    (lambda: Applied(lambda a, b: torch.tensordot(a, b, 1)), [(2, 3), (4, 5)], "tensordot: equal sizes along .*"),
    (lambda: Applied(torch.inner), [(2, 3), (4, 5)], r"inner: operands of shapes \(2, 3\), \(4, 5\) do not fit \(.*"),
    (lambda: Applied(functional.scaled_dot_product_attention), [(2, 3, 4), (2, 3, 5), (2, 3, 4)],
     r"scaled_dot_product_attention: operands of shapes \(2, 3, 4\), \(2, 3, 5\), \(2, 3, 4\) do not fit .*"),
    (lambda: Applied(lambda x, w: functional.conv2d(x, w, stride=0)), [(1, 3, 4, 4), (2, 3, 2, 2)], "conv2d: .*"),
    (lambda: Applied(functional.conv2d), [(1, 3, 4, 4), (2, 3, 2, 2), (3,)], r"conv2d: a bias of shape \(2,\) is .*"),
    (lambda: Applied(torch.addbmm), [(3, 6), (4, 3, 5), (2, 5, 6)], "addbmm: operands of 3 and 3 axes and one .*"),
])
def test_shapes_that_do_not_fit_are_named(make: Callable[[], nn.Module], shapes: list[tuple[int, ...]], message: str
                                          ) -> None:
    model = convert(nn.ModuleDict({"part": make()}))
    with pytest.raises(BadInput, match=f"^layer 'part': {message}$"):
        model["part"](*(drawn(*shape) for shape in shapes))  # type: ignore[index]
