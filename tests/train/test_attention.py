"""Attention on the arrays: torch's results to within BF16, all of its options, and no way round the arrays."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from torch import nn
from torch.nn import functional

from charlib.errors import BadInput
from system.numerics import compiled, scalar
from system.numerics.arithmetic import Arithmetic
from system.train import Recorder, convert, functions, saved
from system.train.attention import scaled_dot_product_attention
from system.train.functions import Arrays

pytestmark = pytest.mark.train

#: a chain of a projection, two products and a projection, each with three roundings of 2^-9, errors independent
TOLERANCE = 2.0**-6
LENGTH, BATCH, WIDTH, HEADS = 6, 3, 16, 4


def error(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a.detach() - b.detach()).norm() / b.detach().norm())


def cosine(a: torch.Tensor, b: torch.Tensor) -> float:
    return float(functional.cosine_similarity(a.detach().flatten().double(), b.detach().flatten().double(), dim=0))


class Double:
    """An engine of exact products, for finite differences and for the order of things."""

    def product(self, a: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        return a @ w.transpose(1, 2)

    def conv2d(self, *_: Any) -> torch.Tensor:
        raise NotImplementedError


def drawn(*shape: int, kind: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(shape, dtype=kind, generator=torch.Generator().manual_seed(sum(shape))).requires_grad_()


HALF = torch.rand(5, 7, generator=torch.Generator().manual_seed(1)) > 0.5
NOWHERE = HALF & (torch.arange(5) != 2)[:, None]
OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {}, "causal": {"is_causal": True}, "scale": {"scale": 0.3}, "mask": {"attn_mask": HALF},
    "query that looks nowhere": {"attn_mask": NOWHERE},
    "added mask": {"attn_mask": torch.linspace(-2, 2, 35, dtype=torch.float64).reshape(5, 7)},
    "added infinities": {"attn_mask": torch.where(NOWHERE, 0.0, -torch.inf).double()},
}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS.keys())
def test_attention_is_torchs_with_exact_products(options: dict[str, Any]) -> None:
    """Value and derivative in float64: only where the products are made differs."""
    q, k, v = drawn(2, 3, 5, 8), drawn(2, 3, 7, 8), drawn(2, 3, 7, 6)
    got = scaled_dot_product_attention(Double(), q, k, v, **options)
    assert torch.allclose(got, functional.scaled_dot_product_attention(q, k, v, **options), atol=1e-10)
    assert torch.autograd.gradcheck(
        lambda *x: scaled_dot_product_attention(Double(), *x, **options), (q, k, v), fast_mode=True)


def test_grouped_heads_dropout_and_a_doubled_mask() -> None:
    q, k, v = drawn(2, 4, 5, 8), drawn(2, 2, 7, 8), drawn(2, 2, 7, 6)
    got = scaled_dot_product_attention(Double(), q, k, v, enable_gqa=True)
    assert torch.allclose(got, functional.scaled_dot_product_attention(q, k, v, enable_gqa=True), atol=1e-12)
    ones = torch.ones(2, 1, 7, 6, dtype=torch.float64)
    torch.manual_seed(0)
    share = scaled_dot_product_attention(Double(), drawn(2, 1, 500, 8), drawn(2, 1, 7, 8), ones, dropout_p=0.5)
    assert float(share.detach().mean()) == pytest.approx(1, abs=0.1)
    assert float(share.detach().std()) > 0.1  # without dropout every sum of shares is 1
    with pytest.raises(BadInput, match=r"^attention: is_causal or attn_mask is allowed, got both; put the causal"):
        scaled_dot_product_attention(Double(), q, q, q, torch.ones(5, 5, dtype=torch.bool), is_causal=True)


def test_scores_and_outputs_are_the_scalar_twins() -> None:
    """Keys are stored words summed over channels; values are stored words summed over key positions."""
    arithmetic = Arithmetic(lanes=4, guard_bits=0)
    q, k, v = (drawn(1, 5, 6, kind=torch.float32) for _ in range(3))
    z = scaled_dot_product_attention(Arrays(arithmetic), q, k, v)

    def by_twin(a: np.ndarray, w: np.ndarray) -> torch.Tensor:
        found = [[scalar.dot(row.tolist(), word.tolist(), arithmetic) << 16 for word in w] for row in a]
        return torch.tensor(found, dtype=torch.int64).to(torch.int32).view(torch.float32)

    scores = by_twin(saved.codes(q)[0], saved.codes(k)[0]) * (1 / 6**0.5)
    share = functional.softmax(scores, dim=-1)
    assert torch.equal(z[0], by_twin(saved.codes(share), saved.codes(v)[0].T))


def results(model: nn.Module, *inputs: torch.Tensor, **options: Any) -> list[torch.Tensor]:
    """Output, input gradient and the gradients of all parameters that have one."""
    given = [x.detach().clone().requires_grad_() for x in inputs]
    found = model(*given, **options)
    z = found[0] if isinstance(found, tuple) else found
    z.backward(torch.randn(z.shape, generator=torch.Generator().manual_seed(9)))
    gradients = [x.grad for x in given] + [p.grad for p in model.parameters()]
    return [z, *(g for g in gradients if g is not None)]


PADDED = torch.tensor([[False] * LENGTH, [False] * 4 + [True] * 2, [False] * 5 + [True]])
CAUSAL = torch.ones(LENGTH, LENGTH, dtype=torch.bool).triu(1)
ATTENTIONS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "weights wanted": ({}, {}), "weights not wanted": ({}, {"need_weights": False}),
    "each head's weights": ({}, {"average_attn_weights": False}),
    "masks": ({"batch_first": False}, {"attn_mask": CAUSAL, "key_padding_mask": PADDED, "need_weights": False}),
    "added bias": ({"add_bias_kv": True, "add_zero_attn": True}, {}),
    "other widths": ({"kdim": WIDTH, "vdim": WIDTH + 4, "bias": False}, {}),
}


@pytest.mark.parametrize("numerics", ["imc", "bf16"])
@pytest.mark.parametrize(("made", "called"), ATTENTIONS.values(), ids=ATTENTIONS.keys())
def test_multihead_attention_is_near_fp32(made: dict[str, Any], called: dict[str, Any], numerics: str) -> None:
    torch.manual_seed(2)
    plain = nn.MultiheadAttention(WIDTH, HEADS, **made)
    inputs = [torch.randn(LENGTH, BATCH, width) for width in (WIDTH, WIDTH, made.get("vdim", WIDTH))]
    model = convert(copy.deepcopy(plain), numerics)
    for got, want in zip(results(model, *inputs, **called), results(plain, *inputs, **called), strict=True):
        if float(want.detach().norm()) < 1e-5:
            continue  # a key's bias adds one number to all scores of a query: no gradient but noise
        assert error(got, want) < TOLERANCE
        assert cosine(got, want) > 0.999
    shares, wanted = model(*inputs, **called)[1], plain(*inputs, **called)[1]
    assert (shares is None) == (wanted is None)
    assert shares is None or error(shares, wanted) < TOLERANCE


def counted(model: nn.Module, monkeypatch: pytest.MonkeyPatch, call: Callable[[], object]) -> int:
    """Forward products that reach the arrays."""
    seen = []

    def spy(*operands: Any) -> Any:
        seen.append(operands)
        return compiled.dot_values(*operands)

    monkeypatch.setattr(functions, "forward_pass", spy)
    call()
    return len(seen)


@pytest.mark.parametrize("options", [{}, {"norm_first": True}, {"batch_first": True, "activation": "gelu"}],
                         ids=["plain", "norm first", "batch first"])
def test_a_transformer_layer_cannot_take_the_fast_path(options: dict[str, Any],
                                                       monkeypatch: pytest.MonkeyPatch) -> None:
    """In eval mode torch would run one fused call in FP32; bits are those of train mode, six products are seen."""
    torch.manual_seed(3)
    plain = nn.TransformerEncoderLayer(WIDTH, HEADS, 24, dropout=0.0, **options)
    model, x = convert(copy.deepcopy(plain)), torch.randn(BATCH, LENGTH, WIDTH)
    trained = model.train()(x)
    model.eval()
    with torch.no_grad():
        assert torch.equal(model(x), trained)
        assert counted(model, monkeypatch, lambda: model(x)) == 6  # in, QKᵀ, PV, out, two of the feed-forward
    assert 0 < error(trained, plain(x)) < TOLERANCE


def test_a_stack_with_padding_cannot_take_it_either(monkeypatch: pytest.MonkeyPatch) -> None:
    layer = nn.TransformerEncoderLayer(WIDTH, HEADS, 24, batch_first=True)
    plain = nn.TransformerEncoder(layer, 2).eval()
    model, x = convert(copy.deepcopy(plain)), torch.randn(BATCH, LENGTH, WIDTH)
    with torch.no_grad():
        assert counted(model, monkeypatch, lambda: model(x, src_key_padding_mask=PADDED)) == 12
        kept = ~PADDED[..., None]
        got, want = (m(x, src_key_padding_mask=PADDED) * kept for m in (model, plain))
        assert error(got, want) < TOLERANCE


@pytest.mark.parametrize("numerics", ["imc", "bf16"])
def test_gradients_of_a_transformer_layer(numerics: str) -> None:
    torch.manual_seed(4)
    plain = nn.TransformerEncoderLayer(WIDTH, HEADS, 24, dropout=0.0, activation="gelu")
    x = torch.randn(LENGTH, BATCH, WIDTH)
    for got, want in zip(results(convert(copy.deepcopy(plain), numerics), x), results(plain, x), strict=True):
        assert error(got, want) < 2 * TOLERANCE  # six products and two norms deep
        assert cosine(got, want) > 0.999


def test_a_decoder_layer_has_all_its_products_recorded() -> None:
    recorder = Recorder(every=1)
    model = convert(nn.TransformerDecoderLayer(WIDTH, HEADS, 24), recorder=recorder)
    model(torch.randn(LENGTH, BATCH, WIDTH), torch.randn(4, BATCH, WIDTH)).sum().backward()
    assert set(recorder.seen) == {"self_attn", "multihead_attn", "linear1", "linear2"}
    calls = {name: {p: seen.calls for p, seen in passes.items()} for name, passes in recorder.seen.items()}
    assert calls["self_attn"]["forward"] == 4  # in, QKᵀ, PV, out
    assert calls["multihead_attn"]["forward"] == 5  # the query's projection and the memory's are two
    assert calls["linear2"] == dict.fromkeys(("forward", "input_gradient", "weight_gradient"), 1)
    macs = 3 * LENGTH * BATCH * WIDTH**2 + 2 * BATCH * LENGTH**2 * WIDTH + LENGTH * BATCH * WIDTH**2
    assert recorder.seen["self_attn"]["forward"].macs == macs


class Classifier(nn.Module):
    """Which of the tokens is the largest in channel 0: attention has to find it."""

    def __init__(self) -> None:
        super().__init__()
        self.block = nn.TransformerEncoderLayer(WIDTH, HEADS, 32, dropout=0.1, batch_first=True)
        self.last = nn.Linear(WIDTH, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.last(self.block(x).mean(dim=1))
        return out


@pytest.mark.parametrize("numerics", ["imc", "fp32"])
def test_a_transformer_block_trains(numerics: str) -> None:
    torch.manual_seed(5)
    x = torch.randn(48, LENGTH, WIDTH)
    y = (x[..., 0].amax(dim=1) > 1.2).long()
    model = convert(Classifier(), numerics)
    optimiser = torch.optim.AdamW(model.parameters(), 0.01)
    losses = []
    for _ in range(25):
        optimiser.zero_grad()
        loss = functional.cross_entropy(model(x), y)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.5 * losses[0]
