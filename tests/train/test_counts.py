"""Multiply-accumulates of modules of many kinds beside torch's own counter, forward, and beside a count of a step
from what autograd wants of each product."""

from __future__ import annotations

import importlib.util
import math
import sys
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

pytest.importorskip("torch")

import torch
from torch import nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from charlib.errors import BadInput
from system.mapping import map_network
from system.structure import macro_structure
from system.traffic import tensors
from system.train.tracing import trace
from system.workload import Network

pytestmark = pytest.mark.train
Tensor = torch.Tensor
ROOT = Path(__file__).resolve().parents[2]


@cache
def tool() -> ModuleType:
    """tools/counts.py."""
    spec = importlib.util.spec_from_file_location("counts_tool", ROOT / "tools" / "counts.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


class Own(nn.Module):
    """Layers by name, and a forward given as a function of them and the input."""

    def __init__(self, forward: Callable[[Any, Tensor], Tensor], **layers: nn.Module | nn.Parameter) -> None:
        super().__init__()
        self.body = forward
        for name, layer in layers.items():
            setattr(self, name, layer)

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.body(self, x)
        return scores


def split_heads(x: Tensor, heads: int) -> Tensor:
    return x.view(*x.shape[:-1], heads, -1).transpose(-2, -3)


def cnn_lstm() -> nn.Module:
    """Frames in the batch for the convolutions, along time for the recurrent layer."""
    def forward(m: Any, x: Tensor) -> Tensor:
        frames = m.pool(torch.relu(m.second(torch.relu(m.first(x.flatten(0, 1)))))).flatten(1)
        steps, _ = m.lstm(frames.view(*x.shape[:2], -1))
        scores: Tensor = m.head(steps[:, -1])
        return scores
    return Own(forward, first=nn.Conv2d(3, 8, 3, 2, 1), second=nn.Conv2d(8, 8, 3, 1, 1, groups=8),
               pool=nn.AdaptiveAvgPool2d(1), lstm=nn.LSTM(8, 16, 2, batch_first=True), head=nn.Linear(16, 5))


def gpt_windows() -> nn.Module:
    """Causal attention inside four windows; its own gelu; the table of words is the output's weights."""
    def forward(m: Any, x: Tensor) -> Tensor:
        rows = m.words(x) + m.positions
        n, tokens, size = rows.shape
        windows = m.norm(rows).view(n * 4, tokens // 4, size)
        q, k, v = (split_heads(t, 4) for t in m.qkv(windows).chunk(3, -1))
        mixed = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        rows = rows + m.out(mixed.transpose(1, 2).reshape(n, tokens, size))
        y = m.up(rows)
        y = 0.5 * y * (1.0 + torch.tanh(math.sqrt(2 / math.pi) * (y + 0.044715 * torch.pow(y, 3.0))))
        return functional.linear(rows + m.down(y), m.words.weight)
    return Own(forward, words=nn.Embedding(50, 32), positions=nn.Parameter(torch.zeros(16, 32)),
               norm=nn.LayerNorm(32),
               qkv=nn.Linear(32, 96), out=nn.Linear(32, 32), up=nn.Linear(32, 64), down=nn.Linear(64, 32))


def albert_like() -> nn.Module:
    """One block of attention, three times."""
    def forward(m: Any, x: Tensor) -> Tensor:
        for _ in range(3):
            x = m.block(x)
        scores: Tensor = m.head(x[:, 0])
        return scores
    return Own(forward, block=nn.TransformerEncoderLayer(16, 2, 32, batch_first=True), head=nn.Linear(16, 3))


def routed() -> nn.Module:
    """Each token asks two of four experts."""
    def forward(m: Any, x: Tensor) -> Tensor:
        rows = x.flatten(0, 1)
        shares, chosen = m.gate(rows).softmax(-1).topk(2, -1)
        picked = rows.repeat_interleave(2, 0).unsqueeze(1)
        y = torch.bmm(functional.silu(torch.bmm(picked, m.up[chosen.flatten()])), m.down[chosen.flatten()])
        y = (y.view(-1, 2, 8) * shares.unsqueeze(-1)).sum(1)
        scores: Tensor = m.head(y.view_as(x).mean(1))
        return scores
    return Own(forward, gate=nn.Linear(8, 4, bias=False), up=nn.Parameter(torch.randn(4, 8, 12)),
               down=nn.Parameter(torch.randn(4, 12, 8)), head=nn.Linear(8, 3))


def swin_like() -> nn.Module:
    """Shifted windows, a table of relative positions added to the scores."""
    index = torch.randint(0, 49, (16, 16))

    def forward(m: Any, x: Tensor) -> Tensor:
        n = x.shape[0]
        y = torch.roll(m.patch(x).permute(0, 2, 3, 1), (2, 2), (1, 2))
        windows = y.view(n, 2, 4, 2, 4, 16).transpose(2, 3).reshape(-1, 16, 16)
        q, k, v = (split_heads(t, 2) for t in m.qkv(windows).chunk(3, -1))
        scores = (q * 0.35) @ k.mT + m.table[index.flatten()].view(16, 16, 2).permute(2, 0, 1)
        y = m.out((scores.softmax(-1) @ v).transpose(1, 2).reshape(-1, 16, 16))
        out: Tensor = m.head(y.view(n, -1, 16).mean(1))
        return out
    return Own(forward, patch=nn.Conv2d(3, 16, 2, 2), qkv=nn.Linear(16, 48), out=nn.Linear(16, 16),
               table=nn.Parameter(torch.zeros(49, 2)), head=nn.Linear(16, 4))


def lora() -> nn.Module:
    """Frozen weights beside a learned product of two thin ones."""
    def forward(m: Any, x: Tensor) -> Tensor:
        y = torch.relu(m.below(x))
        y = torch.relu(m.wide(y) + m.b(m.a(y)))
        scores: Tensor = m.head(m.wide(y) + m.b(m.a(y)))
        return scores
    module = Own(forward, below=nn.Linear(12, 16), wide=nn.Linear(16, 16), a=nn.Linear(16, 2, bias=False),
                 b=nn.Linear(2, 16, bias=False), head=nn.Linear(16, 3))
    for part in (module.below, module.wide):
        part.requires_grad_(False)
    return module


def frozen_body() -> nn.Module:
    body = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 16, 3, 2, 1), nn.ReLU())
    return nn.Sequential(body.requires_grad_(False), nn.Conv2d(16, 8, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1),
                         nn.Flatten(), nn.Linear(8, 4))


def grouped_queries() -> nn.Module:
    """Eight heads of queries on two of keys, which come from elsewhere."""
    def forward(m: Any, x: Tensor) -> Tensor:
        memory = x[:, :3]
        q = split_heads(m.q(x), 8)
        k, v = split_heads(m.k(memory), 2), split_heads(m.v(memory), 2)
        y = functional.scaled_dot_product_attention(q, k, v, enable_gqa=True)
        out: Tensor = m.head(y.transpose(1, 2).flatten(2).mean(1))
        return out
    return Own(forward, q=nn.Linear(32, 32), k=nn.Linear(32, 8), v=nn.Linear(32, 8), head=nn.Linear(32, 3))


def many_convolutions() -> nn.Module:
    """In one, two and three dimensions, grouped, dilated and transposed, on parts that lie in the batch."""
    def forward(m: Any, x: Tensor) -> Tensor:
        parts = x.view(-1, 4, *x.shape[2:])
        y = m.up(m.first(parts))
        y = m.volume(y.unflatten(1, (2, 2)))
        y = m.line(y.flatten(3).flatten(1, 2))
        scores: Tensor = m.head(y.mean(-1)).view(x.shape[0], 2, -1).sum(1)
        return scores
    return Own(forward, first=nn.Conv2d(4, 6, 3, groups=2), up=nn.ConvTranspose2d(6, 4, 3, 2, groups=2),
               volume=nn.Conv3d(2, 3, (1, 3, 3)), line=nn.Conv1d(6, 4, 5, 3, dilation=2), head=nn.Linear(4, 3))


def mixed_weights() -> nn.Module:
    """Each sample's own mixture of two kernels; the samples lie in the channels."""
    def forward(m: Any, x: Tensor) -> Tensor:
        n = x.shape[0]
        kernels = (m.route(x.mean((2, 3))).sigmoid() @ m.kernels).view(n * 6, 4, 3, 3)
        y = functional.conv2d(x.reshape(1, n * 4, 8, 8), kernels, groups=n).view(n, 6, 6, 6)
        scores: Tensor = m.head(y.mean((2, 3)))
        return scores
    return Own(forward, route=nn.Linear(4, 2), kernels=nn.Parameter(torch.randn(2, 6 * 4 * 9)), head=nn.Linear(6, 3))


def one_kernel_for_all() -> nn.Module:
    """The samples lie in the channels, and the same kernel is repeated for them."""
    def forward(m: Any, x: Tensor) -> Tensor:
        n = x.shape[0]
        y = functional.conv2d(m.stem(x).reshape(1, n * 4, 6, 6), m.kernel.repeat(n, 1, 1, 1), groups=n)
        scores: Tensor = m.head(y.view(n, 5, -1).mean(-1))
        return scores
    return Own(forward, stem=nn.Conv2d(3, 4, 3), kernel=nn.Parameter(torch.randn(5, 4, 3, 3)), head=nn.Linear(5, 3))


def vmapped() -> nn.Module:
    """An ensemble of three, and time before the batch."""
    def forward(m: Any, x: Tensor) -> Tensor:
        y = torch.vmap(lambda w: torch.vmap(lambda row: w @ row)(x.flatten(1)))(m.members)
        steps, _ = m.gru(y)
        scores: Tensor = m.head(steps.mean(0))
        return scores
    return Own(forward, members=nn.Parameter(torch.randn(3, 6, 12)), gru=nn.GRU(6, 5), head=nn.Linear(5, 2))


def forms_of_products() -> nn.Module:
    def forward(m: Any, x: Tensor) -> Tensor:
        y = torch.baddbmm(x, x.expand(1, *x.shape[1:]) if x.shape[0] == 1 else x, m.square.expand(x.shape[0], -1, -1))
        y = torch.einsum("bij,jk->bki", y, m.square)
        y = torch.addmm(m.bias, y.flatten(0, 1), m.tall).view(-1, 6, 9)
        return m.head(torch.tensordot(y, m.tall, ([2], [1])).mean(1))  # type: ignore[no-any-return]
    return Own(forward, square=nn.Parameter(torch.randn(6, 6)), bias=nn.Parameter(torch.zeros(9)),
               tall=nn.Parameter(torch.randn(6, 9)), head=nn.Linear(6, 3))


def written_in_place() -> nn.Module:
    def forward(m: Any, x: Tensor) -> Tensor:
        y = x.new_zeros(x.shape[0], 24)
        y[:, :8], y[:, 8:16] = m.a(x), m.b(x)
        y[:, torch.arange(16, 24)] = m.a(x)
        return m.head(m.mid(y).masked_fill_(y > 9, 0.0))  # type: ignore[no-any-return]
    return Own(forward, a=nn.Linear(6, 8), b=nn.Linear(6, 8), mid=nn.Linear(24, 24), head=nn.Linear(24, 2))


def parts_without_gradient() -> nn.Module:
    """A detached branch, a block without gradients and a weight of which a copy is used so."""
    def forward(m: Any, x: Tensor) -> Tensor:
        y = torch.relu(m.a(x))
        with torch.no_grad():
            target = m.b(y)
        z = m.b(y.detach()) + target
        return m.head(z + y @ m.a.weight.detach() @ m.fixed)  # type: ignore[no-any-return]
    module = Own(forward, a=nn.Linear(6, 6), b=nn.Linear(6, 6), head=nn.Linear(6, 2))
    module.register_buffer("fixed", torch.eye(6))
    return module


class KeptStatistics(nn.BatchNorm2d):
    """Stays in evaluation, with parameters that do not learn, as in detection."""

    def train(self, mode: bool = True) -> KeptStatistics:
        super().train(False)
        return self


def kept_statistics() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 8, 3), KeptStatistics(8).requires_grad_(False), nn.ReLU(), nn.Flatten(),
                         nn.Linear(8 * 36, 3))


def learned_queries() -> nn.Module:
    def forward(m: Any, x: Tensor) -> Tensor:
        queries = m.queries.expand(x.shape[0], -1, -1)
        y = m.attention(queries, x, x, need_weights=False)[0]
        return m.head((y @ (m.a @ m.b)).mean(1))  # type: ignore[no-any-return]
    return Own(forward, queries=nn.Parameter(torch.zeros(1, 5, 16)),
               attention=nn.MultiheadAttention(16, 4, batch_first=True), a=nn.Parameter(torch.randn(16, 2)),
               b=nn.Parameter(torch.randn(2, 16)), head=nn.Linear(16, 3))


CASES: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], torch.dtype]] = {
    "frames": (cnn_lstm, (6, 3, 8, 8), torch.float32), "windows": (gpt_windows, (16,), torch.int64),
    "shared layers": (albert_like, (5, 16), torch.float32), "routed experts": (routed, (6, 8), torch.float32),
    "relative positions": (swin_like, (3, 16, 16), torch.float32), "low rank": (lora, (12,), torch.float32),
    "frozen body": (frozen_body, (3, 16, 16), torch.float32),
    "grouped queries": (grouped_queries, (7, 32), torch.float32),
    "convolutions": (many_convolutions, (8, 7, 7), torch.float32),
    "mixed weights": (mixed_weights, (4, 8, 8), torch.float32),
    "samples as channels": (one_kernel_for_all, (3, 8, 8), torch.float32),
    "vmap": (vmapped, (3, 4), torch.float32), "forms": (forms_of_products, (6, 6), torch.float32),
    "in place": (written_in_place, (6,), torch.float32), "no gradient": (parts_without_gradient, (6,), torch.float32),
    "kept statistics": (kept_statistics, (3, 8, 8), torch.float32),
    "queries": (learned_queries, (9, 16), torch.float32),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("batch", [2, 6])
def test_counts_are_those_of_torch(name: str, batch: int) -> None:
    make, shape, dtype = CASES[name]
    module = make()
    network = trace(module, shape, name, dtype)
    forward, step, left_out = tool().count(module, shape, dtype, batch)
    assert not left_out or name in ("frames", "vmap")
    assert network.macs_per_sample(batch) * batch == forward
    assert network.macs_per_sample(batch, training=True) * batch == step
    assert network.parameters == sum(p.numel() for p in module.parameters() if p.requires_grad)


@pytest.mark.parametrize("name", ["frames", "routed experts", "frozen body", "queries", "low rank", "no gradient"])
@pytest.mark.parametrize("policy", ["resident", "time_multiplexed"])
def test_every_product_is_an_event(name: str, policy: str) -> None:
    make, shape, dtype = CASES[name]
    network = trace(make(), shape, name, dtype)
    mapped = map_network(network, macro_structure("fan2023"), 8, policy, lambda counts: float(sum(counts.values())),
                         macros=None if policy == "resident" else 64)
    counts = mapped.counts()
    products = sum(n for (event, _), n in counts.items() if event == "compartment_product")
    assert products == network.macs_per_sample(8, training=True) * 8
    updated = counts.get(("update_add", "update"), 0)
    assert updated == sum(x.learned_weights for x in network.mac_layers if not x.tied)
    state = sum(t.bits for t in tensors(network, 8, 0) if t.tensor == "momentum")
    assert state == 32 * network.parameters


def head_of(module: nn.Module) -> Network:
    return trace(nn.Sequential(module, nn.Linear(8, 3)), (8,), "own")


class Doubled(torch.autograd.Function):
    """Two products of one's own, with a gradient of one's own."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, w: Tensor) -> Tensor:
        return torch.relu(x @ w) @ w

    @staticmethod
    def backward(ctx: Any, *d: Tensor) -> tuple[Tensor, Tensor]:
        raise NotImplementedError


@pytest.mark.parametrize("way", ["function", "checkpoint", "reentrant"])
def test_a_gradient_comes_back_through_what_autograd_does_not_see(way: str) -> None:
    def twice(m: Any, x: Tensor) -> Tensor:
        y: Tensor = torch.relu(x @ m.w) @ m.w
        return y

    def forward(m: Any, x: Tensor) -> Tensor:
        x = m.below(x)
        if way == "function":
            y = Doubled.apply(x, m.w)  # type: ignore[no-untyped-call]
        else:
            y = checkpoint(partial(twice, m), x, use_reentrant=way == "reentrant")
        out: Tensor = y
        return out
    network = head_of(Own(forward, below=nn.Linear(8, 8, bias=False), w=nn.Parameter(torch.randn(8, 8))))
    assert network.macs_training == 2 * 64 + 2 * 3 * 64 + 3 * 24


def test_what_is_frozen_has_no_state_no_update_and_no_gradient_below_what_learns() -> None:
    network = trace(frozen_body(), (3, 16, 16), "frozen")
    first, second, third, head = network.mac_layers
    assert [x.passes for x in (first, second, third, head)] == [1, 1, 2, 3]
    assert network.parameters == 16 * 8 + 8 + 8 * 4 + 4
    held = tensors(network, 4, 0)
    for layer, reads in ((first, (("forward", 1),)), (second, (("forward", 1), ("weight_gradient", 1)))):
        mine = {t.tensor: t for t in held if t.layer == layer.name}
        assert set(mine) - {"input"} == {"saved_activation"}
        assert mine["saved_activation"].reads == reads
    assert next(t for t in held if t.tensor == "input").reads == (("forward", 1),)
    assert not any(v.backward().total for v in (*network.followers(first), *network.followers(second)))
    assert all(v.backward().total for v in network.followers(head))
    assert {t.layer for t in held if t.tensor in ("momentum", "master_copy")} == {third.name, head.name}


def test_work_of_parameters_alone_is_done_once_a_step() -> None:
    def forward(m: Any, x: Tensor) -> Tensor:
        out: Tensor = x @ (m.a @ m.b)
        return out
    network = head_of(Own(forward, a=nn.Parameter(torch.randn(8, 2)), b=nn.Parameter(torch.randn(2, 8))))
    once, product, _ = network.mac_layers
    assert (once.once, once.macs, once.passes, product.tied) == (True, 128, 3, True)
    assert network.macs_forward == 64 + 24
    assert network.macs_per_sample(64) == 64 + 24 + 128 / 64
    assert network.macs_per_sample(64, training=True) == 2 * 64 + 3 * 24 + 3 * 128 / 64
    assert network.parameters == 32 + 27


@pytest.mark.parametrize(("body", "message"), [
    (lambda m, x: x @ x.mT @ x, "'0:matmul' mixes samples"),
    (lambda m, x: torch.cat([m.a(row[None]) for row in x]), "runs other operators on a batch of 4 than on one of 2"),
    (lambda m, x: m.a(x) + (x[:, None] - x[None]).sum(1), "mixes samples: its elements grow faster than the batch"),
])
def test_what_mixes_samples_is_refused(body: Callable[[Any, Tensor], Tensor], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        head_of(Own(body, a=nn.Linear(8, 8)))


def test_more_experts_than_rows_are_refused() -> None:
    with pytest.raises(BadInput, match=r"'experts' routes 2 rows of a sample to 4 experts; each gets an even share"):
        trace(routed(), (1, 8), "routed")


@pytest.mark.validate
def test_the_page_of_families_holds() -> None:
    """Each row of docs/counts.md whose package is installed, again."""
    rows = (ROOT / "docs" / "counts.md").read_text(encoding="utf-8")
    for (source, family), model in tool().chosen(rows).items():
        if importlib.util.find_spec(source) is None:
            continue
        row = tool().ROW[source](family, model)
        if row.ours is not None:
            assert f"| {source} | `{family}` | `{model}` | {row.size} | {row.ours:,} | {row.counter:,} |" in rows
            assert f"| {row.ours_step:,} | {row.by_hand_step:,} |" in rows
        else:
            assert f"| {source} | `{family}` | `{model}` | {row.why.replace('|', '/')} |" in rows
