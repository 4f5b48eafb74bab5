"""Any module as records: the same MACs, parameters and vector operations as the records written by hand."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from torch import nn
from torch.nn import functional

from charlib.errors import BadInput
from system.mapping import map_network
from system.networks import build_network
from system.structure import macro_structure
from system.train.torch_networks import BUILDERS, EncoderBlock, build
from system.train.tracing import trace
from system.workload import MacLayer, Network

pytestmark = pytest.mark.train
Tensor = torch.Tensor


def operations(network: Network) -> Counter[str]:
    """Elements of each vector operator."""
    found: Counter[str] = Counter()
    for layer in network.vector_layers:
        found[layer.kind] += layer.elements
    return found


def products(network: Network) -> Counter[tuple[object, ...]]:
    return Counter((x.kind, x.macs, x.weights, x.reduction, x.positions, x.groups, x.taps, x.in_elements,
                    x.needs_input_gradient, x.bias) for x in network.mac_layers)


def assert_same(traced: Network, written: Network) -> None:
    assert products(traced) == products(written)
    assert operations(traced) == operations(written)
    assert (traced.parameters, traced.macs_training) == (written.parameters, written.macs_training)
    totals = [sum(v.forward().total for v in network.vector_layers) for network in (traced, written)]
    assert totals[0] == totals[1] > 0


@pytest.mark.parametrize(("px", "width", "channels"), [(224, 1.0, 3), (32, 0.5, 1)])
@pytest.mark.parametrize("name", BUILDERS)
def test_networks_by_name_equal_their_records(name: str, px: int, width: float, channels: int) -> None:
    with torch.device("meta"):
        module = build(name, width=width, image_px=px, classes=10, channels=channels)
    assert_same(trace(module, (channels, px, px), name), build_network(name, px, width, 10, channels))


class Gpt2(nn.Module):
    """Words and positions, blocks with a causal mask, output weights tied to the words."""

    def __init__(self, tokens: int) -> None:
        super().__init__()
        self.words, self.positions = nn.Embedding(50_257, 768), nn.Parameter(torch.empty(1024, 768))
        self.blocks = nn.Sequential(*(CausalBlock() for _ in range(12)))
        self.norm = nn.LayerNorm(768)
        self.tokens = tokens

    def forward(self, x: Tensor) -> Tensor:
        rows = self.words(x) + self.positions[: self.tokens]
        return functional.linear(self.norm(self.blocks(rows)), self.words.weight)


class CausalBlock(EncoderBlock):
    def __init__(self) -> None:
        super().__init__(768, 12, 3072)

    def forward(self, x: Tensor) -> Tensor:
        normal = self.norm1(x)
        both = functional.linear(normal, self.attention.in_proj_weight, self.attention.in_proj_bias)
        q, k, v = (t.reshape(*t.shape[:2], 12, 64).transpose(1, 2) for t in both.chunk(3, dim=-1))
        mixed = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.attention.out_proj(mixed.transpose(1, 2).flatten(2))
        out: Tensor = x + self.mlp(self.norm2(x))
        return out


def test_gpt2_equals_its_records() -> None:
    with torch.device("meta"):
        module = Gpt2(64)
    assert_same(trace(module, (64,), "gpt2", torch.int64), build_network("gpt2", 64))


def test_a_transformer_block_by_hand() -> None:
    tokens, size, heads, hidden = 10, 24, 4, 96
    network = trace(EncoderBlock(size, heads, hidden), (tokens, size), "block", loss=False)
    assert [(x.kind, x.macs) for x in network.mac_layers] == [
        ("linear", tokens * size * 3 * size), ("matmul", tokens * tokens * size), ("matmul", tokens * tokens * size),
        ("linear", tokens * size * size), ("linear", tokens * size * hidden), ("linear", tokens * size * hidden)]
    assert operations(network) == {
        "layer_norm": 2 * tokens * size, "scale": heads * tokens**2, "softmax": heads * tokens**2,
        "gelu": tokens * hidden, "residual": 2 * tokens * size, "bias": tokens * (3 * size + size + hidden + size)}
    assert network.parameters == sum(p.numel() for p in EncoderBlock(size, heads, hidden).parameters())
    assert not network.mac_layers[0].name.endswith("#2")
    assert len({layer.name for layer in network.layers}) == len(network.layers)


class Sound(nn.Module):
    """A user's module: one-dimensional, dilated, grouped and transposed convolutions, gates, pooling."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv1d(2, 8, 5, stride=2)
        self.wide = nn.Conv1d(8, 8, 3, padding="same", dilation=2, groups=4, bias=False)
        self.gate = nn.Conv1d(8, 8, 1)
        self.up = nn.ConvTranspose1d(8, 4, 4, stride=2)
        self.norm = nn.GroupNorm(2, 4)
        self.out = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.silu(self.first(x))
        x = self.wide(x) * torch.sigmoid(self.gate(x))
        x = functional.dropout(functional.max_pool1d(self.norm(self.up(x)), 2), 0.1, self.training)
        scores: Tensor = self.out(x.mean(dim=-1) / 2)
        return scores


def test_a_users_module() -> None:
    module = Sound().eval()
    network = trace(module, (2, 21), "sound")
    by_name = {x.name: x for x in network.mac_layers}
    assert by_name["first"] == MacLayer("first", "conv", 2, 8, (5,), (2,), (21,), True, False, padding=(0,),
                                        dilation=(1,))
    assert [(x.name, x.macs) for x in network.mac_layers] == [
        ("first", 9 * 8 * 10), ("wide", 9 * 8 * 6), ("gate", 9 * 8 * 8), ("up", 9 * 8 * 16), ("out", 12)]
    assert operations(network) == {
        "bias": 72 + 72 + 80 + 3, "swish": 72, "sigmoid": 72, "multiply": 72, "col2im": 9 * 16, "layer_norm": 80,
        "max_pool": 80, "dropout": 40, "average_pool": 40, "scale": 4, "softmax_loss": 3}
    assert network.parameters == sum(p.numel() for p in module.parameters())
    assert not module.training
    assert all(not layer._forward_hooks and not layer._forward_pre_hooks for layer in module.modules())


def test_a_traced_module_maps() -> None:
    mapped = map_network(trace(Sound(), (2, 21), "sound"), macro_structure("fan2023"), 4, "resident",
                         lambda counts: float(sum(counts.values())))
    assert sum(n for (event, _), n in mapped.counts().items() if event == "compartment_product") == (
        4 * mapped.network.macs_training)


class Shared(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cell, self.out = nn.Linear(6, 6), nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.out(torch.tanh(self.cell(torch.tanh(self.cell(x)))))
        return scores


def test_shared_weights_are_learned_once() -> None:
    network = trace(Shared(), (6,), "shared")
    assert [(x.name, x.tied) for x in network.mac_layers] == [("cell", False), ("cell#2", True), ("out", False)]
    assert network.parameters == 6 * 6 + 6 + 6 * 2 + 2
    assert network.macs_training == 2 * 36 + 3 * 36 + 3 * 12


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
def test_recurrent_layers_step_by_step(kind: type[nn.LSTM]) -> None:
    """Weights of one step are those of the next; input weights meet all steps, hidden weights one each."""
    module, steps, size = kind(6, 5, batch_first=True), 4, {nn.LSTM: 20, nn.GRU: 15, nn.RNN: 5}[kind]
    network = trace(module, (steps, 6), "recurrent")
    assert network.macs_forward == steps * size * (6 + 5)
    assert network.parameters == sum(p.numel() for p in module.parameters())
    hidden = [x for x in network.mac_layers if x.in_channels == 5]
    assert [(x.tied, x.positions) for x in hidden] == [(False, 1), (True, steps - 1)]  # no gradient into the first


class Repeated(nn.Module):
    """One convolution and one linear layer, each called several times."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self.stem, self.conv = nn.Conv2d(3, 8, 3, 2, 1), nn.Conv2d(8, 8, 3, 1, 1)
        self.linear, self.out, self.times = nn.Linear(8, 8), nn.Linear(8, 2), times

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for _ in range(self.times):
            x = torch.relu(self.conv(x))
        x = x.mean((2, 3))
        for _ in range(self.times):
            x = torch.relu(self.linear(x))
        scores: Tensor = self.out(x)
        return scores


@pytest.mark.parametrize("times", [1, 5])
def test_calls_of_the_same_weights_have_their_words_once(times: int) -> None:
    network = trace(Repeated(times), (3, 12, 12), "repeated")
    stem, conv, linear, out = network.mac_layers
    assert [x.name for x in (stem, conv, linear, out)] == ["stem", "conv", "linear", "out"]
    assert not any(x.tied for x in network.mac_layers)
    assert (conv.macs, conv.positions, conv.stored) == (times * 36 * 8 * 72, times * 36, 8 * 72)
    assert (linear.macs, linear.positions, linear.stored) == (times * 64, times, 64)
    assert network.parameters == sum(p.numel() for p in Repeated(times).parameters())


class Experts(nn.Module):
    """Three experts, each with its own weights; weights made of others."""

    def __init__(self) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.zeros(3, 8, 4))
        self.out = torch.nn.utils.parametrizations.weight_norm(nn.Linear(4, 2))

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.out(torch.einsum("bei,eio->beo", x, self.weights))
        return scores


def test_grouped_and_derived_weights() -> None:
    module = Experts()
    network = trace(module, (3, 8), "experts")
    experts, out = network.mac_layers
    assert (experts.groups, experts.macs, experts.positions) == (3, 96, 1)
    assert (out.tied, out.macs, out.positions) == (True, 3 * 8, 3)
    assert network.parameters == sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize(
    "module",
    [nn.TransformerEncoderLayer(16, 4, 32, batch_first=True), nn.Sequential(nn.Linear(16, 8), nn.RMSNorm(8)),
     nn.Sequential(nn.Linear(16, 8), nn.LayerNorm(8, bias=False), nn.ELU(),
                   nn.LayerNorm(8, elementwise_affine=False))],
)
def test_parameters_of_torchs_own_modules(module: nn.Module) -> None:
    network = trace(module, (5, 16), "own")
    assert network.parameters == sum(p.numel() for p in module.parameters())
    assert network.macs_forward >= 5 * 16 * 8


def test_batch_norm_keeps_its_statistics() -> None:
    norm = nn.BatchNorm1d(3)
    trace(nn.Sequential(nn.Linear(3, 3), norm), (3,), "norm")
    assert torch.equal(norm.running_mean, torch.zeros(3)) if norm.running_mean is not None else False
    assert norm.num_batches_tracked is not None
    assert int(norm.num_batches_tracked) == 0


class Odd(nn.Module):
    def __init__(self, what: str) -> None:
        super().__init__()
        self.layer, self.what = nn.Linear(4, 4), what

    def forward(self, x: Tensor) -> Tensor | str:
        x = self.layer(x)
        if self.what == "i0":
            return torch.i0(x)
        if self.what == "branch":
            return x if bool(x.sum() > 0) else -x
        if self.what == "samples":
            return x @ x.t()
        if self.what == "size":
            return x @ torch.zeros(3, 2)
        return self.what


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("i0", r"^trace: the module itself uses i0, an operator without a count; give it one in the file that builds "
               r"the network: OPERATOR_COUNTS = \{\"i0\": OperatorCount\(\(adds, multiplies, compares\), \(those "
               r"backward\)\)\} of system\.operators$"),
        ("branch", r"^trace: odd cannot be followed: which operators run depends on a tensor's values \(.*\); give a "
                   r"module whose steps are the same for every sample \(experts as a gather of their matrices or a "
                   r"grouped product\)$"),
        ("size", r"^trace: odd cannot run on samples of 4: RuntimeError: .*; mend the module or ask for "
                 r"another size$"),
        ("samples", r"^trace: 'matmul' mixes samples: its multiply-accumulates are not those of one sample times the "
                    r"batch; give a module that treats samples one by one$"),
        ("nothing", r"^trace: odd gives str; a tensor, or a tuple or dict with one, is needed$"),
    ],
)
def test_what_cannot_be_traced_is_said(what: str, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        trace(Odd(what), (4,), "odd")


class Fixed(nn.Linear):
    """A layer whose scores no gradient leaves."""

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            return super().forward(x)


@pytest.mark.parametrize("module", [
    Fixed(4, 2), nn.Linear(4, 2).requires_grad_(False), nn.Sequential(nn.Linear(4, 4), Fixed(4, 2)),
], ids=["no gradient", "frozen", "cut off"])
def test_a_module_that_learns_nothing_is_refused(module: nn.Module) -> None:
    with pytest.raises(BadInput, match=r"^trace: nothing of fixed learns from its output, so there is no training to "
                                       r"price; give one that is differentiable, with a parameter behind it that "
                                       r"requires a gradient$"):
        trace(module, (4,), "fixed")
    assert trace(module, (4,), "fixed", loss=False).macs_forward


class Dropping(nn.Module):
    """Blocks that a step leaves out at random."""

    def __init__(self, draw: Callable[[], float], rate: float) -> None:
        super().__init__()
        self.blocks, self.draw, self.rate = nn.ModuleList(nn.Linear(4, 4) for _ in range(3)), draw, rate

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            if self.draw() >= self.rate:
                x = torch.relu(block(x)) * (1 + self.draw())
        return x


@pytest.mark.parametrize("draw", [random.random, np.random.rand])
def test_steps_that_are_drawn_at_random_are_refused(draw: Callable[[], float]) -> None:
    random.seed(5)
    np.random.seed(5)
    before = random.getstate(), str(np.random.get_state())
    with pytest.raises(BadInput, match=r"^trace: dropping draws at random which operators run, so that no step "
                                       r"stands for the others; give a module that runs all of them, such as one "
                                       r"with a drop rate of 0$"):
        trace(Dropping(draw, 0.3), (4,), "dropping")
    assert trace(Dropping(draw, 0.0), (4,), "dropping").macs_forward == 48
    assert (random.getstate(), str(np.random.get_state())) == before


def test_a_module_without_products_is_refused() -> None:
    with pytest.raises(BadInput, match=r"^trace: the module multiplies no tensor by a parameter or another tensor$"):
        trace(nn.ReLU(), (4,), "relu")
