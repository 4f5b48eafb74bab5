"""No product in another arithmetic without a word: what runs where, in forward and in backward, and what is kept."""

from __future__ import annotations

import copy
import json
import pickle
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

import torch
import torch.utils.checkpoint as again
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode, _get_current_dispatch_mode_stack
from torch.utils.flop_counter import FlopCounterMode

from system.train import Recorder, audit_of, convert, fp32
from system.train.audit import Audit
from system.train.convert import told_of

pytestmark = pytest.mark.train

ROWS, SIZE = 8, 32
#: of one product here
MACS = ROWS * SIZE * SIZE


class Weighted(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.randn(SIZE, SIZE, generator=torch.Generator().manual_seed(1)) * 0.2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(x @ self.w)


class Recomputed(Weighted):
    """Reentrant checkpointing: its backward runs forward again."""

    def __init__(self, kind: str = "method", reentrant: bool = True) -> None:
        super().__init__()
        self.kind, self.reentrant = kind, reentrant

    def body(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(x @ self.w)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        def closure(x: torch.Tensor) -> torch.Tensor:
            return torch.relu(x @ self.w)

        body = self.body if self.kind == "method" else closure
        return again.checkpoint(body, x, use_reentrant=self.reentrant)  # type: ignore[no-any-return]


class Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(x, w)
        return x @ w

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        x, w = ctx.saved_tensors
        return gradients[0] @ w.t(), x.t() @ gradients[0]


class OwnFunction(Weighted):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        z: torch.Tensor = Product.apply(x, self.w)  # type: ignore[no-untyped-call]
        return z


class Encoder(Weighted):
    def encode(self, x: torch.Tensor) -> torch.Tensor:
        return x @ self.w

    def chunks(self, x: torch.Tensor) -> Iterator[torch.Tensor]:
        for part in torch.split(x, 4):
            yield part @ self.w


class ChainOfOwn(Weighted):
    """The first one's result meets no torch function before the second takes it, and a dictionary carries that."""

    def both(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"z": Product.apply(Product.apply(x, self.w), self.w)}  # type: ignore[no-untyped-call]


class Powers(Weighted):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        z: torch.Tensor = x * torch.linalg.matrix_power(self.w, 3)[:ROWS]
        return z


class Seen(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """torch's own products, below everything."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.count: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple[Any, ...] = (),
                           kwargs: Mapping[str, Any] | None = None) -> Any:
        name = func.__name__.partition(".")[0]
        self.count[name] += name in ("mm", "bmm", "addmm", "_sparse_mm", "_sparse_addmm", "addr", "convolution")
        return func(*args, **(kwargs or {}))


def rows() -> torch.Tensor:
    return torch.randn(ROWS, SIZE, generator=torch.Generator().manual_seed(2), requires_grad=True)


def tensor_of(found: Any) -> torch.Tensor:
    if isinstance(found, dict):
        return tensor_of(found["z"])
    return found if isinstance(found, torch.Tensor) else torch.cat(list(found))


CASES: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "checkpoint of a method": (Recomputed, "forward"),
    "checkpoint of a closure": (lambda: Recomputed("closure"), "forward"),
    "checkpoint, not reentrant": (lambda: Recomputed("method", False), "forward"),
    "autograd.Function": (OwnFunction, "forward"), "a chain of them": (ChainOfOwn, "both"),
    "another method": (Encoder, "encode"), "a method that yields": (Encoder, "chunks"), "powers": (Powers, "forward"),
}


@pytest.mark.parametrize(("make", "method"), CASES.values(), ids=CASES.keys())
def test_all_products_reach_the_arrays(make: Callable[[], nn.Module], method: str) -> None:
    """None is left to torch in either direction, in the audited step and after it; gradients are near FP32's."""
    plain = make()
    model, found = convert(copy.deepcopy(plain)), []
    for one in (plain, model, model):
        one.zero_grad()
        x, seen = rows(), Seen()
        with warnings.catch_warnings(), seen:
            warnings.simplefilter("error")
            tensor_of(getattr(one, method)(x)).square().sum().backward()  # type: ignore[no-untyped-call]
        found.append((x.grad, next(one.parameters()).grad, sum(seen.count.values())))
    assert found[0][2] > 0
    assert [products for *_, products in found[1:]] == [0, 0]
    for k in range(2):
        wanted, first, second = (torch.as_tensor(f[k]) for f in found)
        assert torch.equal(first, second)  # looking on changes no bit
        assert 0 < float((first - wanted).norm() / wanted.norm()) < 0.02
    assert audit_of(model).share == 0


def test_recomputing_gives_the_bits_of_storing() -> None:
    """Also with an autocast that is off around it all, as checkpointing sets one up again when it recomputes."""
    def gradients(model: nn.Module) -> list[torch.Tensor]:
        x = rows()
        model(x).square().sum().backward()
        return [torch.as_tensor(x.grad), torch.as_tensor(next(model.parameters()).grad)]

    stored = gradients(convert(Weighted()))
    for kind in ("method", "closure"):
        for around in (torch.autocast("cpu", enabled=False), torch.autocast("cpu", torch.bfloat16),
                       torch.enable_grad()):
            with around:
                found = gradients(convert(Recomputed(kind)))
            assert all(torch.equal(a, b) for a, b in zip(found, stored, strict=True))


@torch.jit.script
def scripted(x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
    return x @ w


class Half(Weighted):
    """One product on the arrays; a scripted one goes round them."""

    def __init__(self) -> None:
        super().__init__()
        self.part = nn.Linear(SIZE, SIZE)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return scripted(self.part(x), self.w)  # type: ignore[no-any-return]


class HalfBack(Weighted):
    """An autograd.Function whose backward calls a scripted function."""

    class Own(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
            ctx.save_for_backward(x, w)
            return x @ w

        @staticmethod
        def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None]:
            return scripted(gradients[0], ctx.saved_tensors[1].t()), None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        z: torch.Tensor = self.Own.apply(x, self.w)  # type: ignore[no-untyped-call]
        return z


def again_and_again(model: nn.Module) -> None:
    for _ in range(2):
        model(rows()).sum().backward()


@pytest.mark.parametrize(("make", "macs", "total"), [(Half, 3 * MACS, 6 * MACS), (HalfBack, MACS, 2 * MACS)])
def test_what_goes_round_the_arrays_is_told_once(make: Callable[[], nn.Module], macs: int, total: int) -> None:
    model = convert(make())
    with pytest.warns(UserWarning, match="outside the arrays") as told:
        again_and_again(model)
    assert [str(w.message) for w in told] == [
        f"outside the arrays, in FP32: 'mm' in the module itself (went round the arrays; {macs:,} MACs, "
        f"{macs / total:.2%} of the step's); write them as linear, convolution or matmul in Python, or put fp32() of "
        "system.train around what is to stay"] or make is HalfBack  # in backward, its share is of what was there
    assert len(told) == 1
    assert audit_of(model).to_json() == {
        "macs": total, "macs_outside": macs, "share": macs / total,
        "products": [{"layer": "", "operator": "mm", "why": "unseen", "macs": macs, "share": macs / total}]}


class Formless(nn.Module):
    def __init__(self, function: Callable[..., torch.Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.function(x)


@pytest.mark.parametrize(("function", "operator", "macs"), [
    (lambda x: torch.sparse.mm(torch.eye(ROWS).to_sparse(), x), "_sparse_addmm", 2 * ROWS * SIZE),
    (lambda x: torch.eye(ROWS).to_sparse_csr() @ x, "mm", 2 * ROWS * SIZE),
    (lambda x: torch.cdist(x, x), "_cdist_forward", 3 * ROWS * ROWS * SIZE),
    (lambda x: torch.conv_tbc(x[None], torch.ones(1, SIZE, 4), torch.ones(4)), "conv_tbc", 2 * ROWS * SIZE * 4),
    (lambda x: torch.cov(x), "mm", 3 * ROWS * ROWS * SIZE),
    (lambda x: torch.mm(x.detach(), torch.ones(SIZE, 4), out=torch.empty(ROWS, 4)) + x[:, :4], "mm", ROWS * SIZE * 4),
    (lambda x: torch.linalg.matrix_exp(x[:, :ROWS]), "linalg_matrix_exp", None),
])
def test_an_operator_without_a_form_is_told_and_counted(function: Callable[..., torch.Tensor], operator: str,
                                                        macs: int | None) -> None:
    model = convert(Formless(function))
    with pytest.warns(UserWarning, match="has no form on the arrays"):
        model(rows())
    rows_found = audit_of(model).outside()
    assert [(row.operator, row.why, row.macs) for row in rows_found] == [(operator, "no form", macs)]
    assert len(told_of(model).without_form) == 1


@pytest.mark.parametrize(("inner", "shape", "macs"), [
    (nn.Conv2d(6, 4, 3, groups=2), (2, 6, 8, 8), 2 * 4 * 36 * 27), (nn.Linear(5, 7), (3, 2, 5), 6 * 35),
    (nn.ConvTranspose2d(6, 4, 3, 2), (2, 6, 8, 8), 2 * 64 * 6 * 36),
    (nn.Conv3d(2, 3, 2), (1, 2, 4, 4, 4), 27 * 3 * 16),
])
def test_both_sides_count_alike(inner: nn.Module, shape: tuple[int, ...], macs: int) -> None:
    """What the arrays' engine is asked for is what the dispatcher would have seen, three passes; as torch counts."""
    x = torch.randn(shape)
    model = convert(nn.Sequential(copy.deepcopy(inner)))
    model(x.requires_grad_())
    kept = convert(nn.Sequential(copy.deepcopy(inner)), choose=lambda name, layer: name == "")
    kept(x)
    assert (audit_of(model).inside, audit_of(model).total) == (3 * macs, 3 * macs)
    assert [(row.layer, row.why, row.macs) for row in audit_of(kept).outside()] == [("0", "not chosen", 3 * macs)]
    with FlopCounterMode(display=False) as flops:
        inner(x)
    assert flops.get_total_flops() == 2 * macs


class Whole(nn.Module):
    """A function of the input and a weight."""

    def __init__(self, function: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.function, self.w = function, nn.Parameter(torch.randn(4, 4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.function(x, self.w)


def linear_of_nested(x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
    ragged = torch.nested.nested_tensor_from_jagged(x, torch.tensor([0, 1, 3]))
    z: torch.Tensor = nn.functional.linear(ragged, w).values()
    return z


def test_operators_that_torch_leaves_whole_are_counted() -> None:
    """Nested tensors have no codes; in inference torch takes no operator apart."""
    model = convert(Whole(linear_of_nested))
    with pytest.warns(UserWarning, match="outside the arrays, in FP32: 'linear' in the module itself"):
        model(torch.randn(3, 4))
    assert [(row.operator, row.macs) for row in audit_of(model).outside()] == [("linear", 3 * 4 * 4 * 2)]
    model = convert(Whole(scripted))
    with torch.inference_mode(), pytest.warns(UserWarning, match="went round the arrays; 48 MACs"):
        model(torch.randn(3, 4))


def test_a_frozen_weight_and_a_plain_input_have_no_gradients_to_count() -> None:
    model = convert(nn.Linear(SIZE, SIZE))
    model(rows().detach())
    assert audit_of(model).total == 2 * MACS
    model = convert(nn.Linear(SIZE, SIZE).requires_grad_(False))
    model(rows().detach())
    assert audit_of(model).total == MACS


def test_training_takes_the_place_of_judging_and_later_steps_are_not_looked_at() -> None:
    model: Any = convert(Half())
    with torch.no_grad(), pytest.warns(UserWarning, match="outside the arrays"):
        model(rows())
    assert audit_of(model).total == 2 * MACS
    model(rows())
    assert audit_of(model).total == 6 * MACS
    stacks = []
    model.part.register_forward_hook(lambda *_: stacks.append(_get_current_dispatch_mode_stack()))
    model(rows())
    assert stacks == [[]]
    assert audit_of(model).total == 6 * MACS


def test_looking_on_changes_no_bit_of_a_network() -> None:
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3, groups=8),
                          nn.Flatten(), nn.Linear(8 * 16, 5))
    x, found = torch.randn(4, 3, 8, 8), []
    for looked in (True, False):
        for numerics in ("imc", "bf16"):
            model = convert(copy.deepcopy(plain), numerics)
            if not looked:
                audit_of(model).trained.add(".forward")
            z = model(x)
            z.square().sum().backward()
            assert (audit_of(model).total > 0) == looked
            found.append([z, *(p.grad for p in model.parameters())])
    for a, b in zip(found[0] + found[1], found[2] + found[3], strict=True):
        assert torch.equal(torch.as_tensor(a), torch.as_tensor(b))


def test_a_counter_of_flops_around_the_model_changes_no_bit() -> None:
    model = convert(Half())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        first = model(rows())
        with FlopCounterMode(display=False):
            assert torch.equal(model(rows()), first)


def test_a_step_is_one_for_the_recorder_whatever_is_recomputed() -> None:
    recorder = Recorder(every=1)
    model = convert(Recomputed("method", False), recorder=recorder)
    for _ in range(3):
        model(rows()).sum().backward()
    assert recorder.steps[""][1] == 2  # after the first
    assert recorder.seen[""]["input_gradient"].calls == 3


class Angles(nn.Module):
    """Rotary positions as models keep them: FP32 by an autocast that is off."""

    def __init__(self, keep: Callable[[], Any]) -> None:
        super().__init__()
        self.keep = keep
        self.speed = nn.Buffer(10000.0 ** (-torch.arange(0, 32, 2) / 32))
        self.inner = nn.Linear(1, 16)

    def forward(self, at: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        with self.keep():
            return (at[:, None] @ self.speed[None]).cos(), self.inner(at[:, None])


AT = torch.arange(2048.0)


@pytest.mark.parametrize(("keep", "why"), [
    (lambda: torch.autocast("cpu", enabled=False), "autocast off"),
    (lambda: torch.autocast("cuda", enabled=False), "autocast off"), (fp32, "fp32()")])
@pytest.mark.filterwarnings("ignore:outside the arrays", "ignore:.*CUDA")
def test_angles_that_a_model_keeps_in_fp32_stay(keep: Callable[[], Any], why: str) -> None:
    plain = Angles(keep)
    model = convert(copy.deepcopy(plain))
    for got, want in zip(model(AT), plain(AT), strict=True):
        assert torch.equal(got, want)
    assert {(row.layer, row.why) for row in audit_of(model).outside()} == {("", why), ("inner", why)}
    assert len(torch.unique(model(AT)[0], dim=0)) > 2000


def test_what_the_user_keeps_needs_no_warning_and_what_the_model_keeps_does() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        convert(Angles(fp32))(AT)
    with pytest.warns(UserWarning, match=r"under autocast\(enabled=False\); 65,536 MACs, 66.67% of the step's"):
        convert(Angles(lambda: torch.autocast("cpu", enabled=False)))(AT)


@pytest.mark.parametrize("around", [lambda: torch.autocast("cpu", enabled=False), torch.no_grad,
                                    lambda: torch.autocast("cpu", torch.bfloat16)])
def test_an_autocast_around_the_whole_model_keeps_nothing(around: Callable[[], Any]) -> None:
    """Training scripts turn autocast off by a flag; the arrays are another question."""
    model = convert(Weighted())
    wanted = model(rows())
    with around():
        assert torch.equal(model(rows()), wanted)


def test_fp32_reaches_into_backward_and_ends() -> None:
    """A checkpoint and a function made under it run FP32 again; what comes after is on the arrays."""
    for make in (Recomputed, lambda: Recomputed("closure"), OwnFunction):
        plain = make()
        model, gradients = convert(copy.deepcopy(plain)), []
        for one in (plain, model):
            x = rows()
            with fp32():
                one(x).square().sum().backward()
            gradients.append((x.grad, torch.as_tensor(one.w.grad).clone()))
        with fp32():
            z = model(rows())
        z.sum().backward()
        assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))
        assert not torch.equal(model(rows()), plain(rows()))


def test_methods_come_back_and_travel() -> None:
    model: Any = convert(Encoder())
    assert {name for name, held in vars(model).items()
            if type(held).__name__ == "Inside"} == {"forward", "_call_impl", "encode", "chunks"}
    x, wanted = rows(), model.encode(rows())
    assert not torch.equal(wanted, x @ model.w)
    assert torch.equal(copy.deepcopy(model).encode(x), wanted)
    assert torch.equal(pickle.loads(pickle.dumps(model)).encode(x), wanted)
    convert(model, "fp32")
    assert torch.equal(model.encode(x), x @ model.w)


class Yielding(nn.Module):
    def talk(self) -> Any:
        got = yield 1
        assert torch.overrides._get_current_function_mode_stack()  # type: ignore[no-untyped-call]
        yield got
        return 3


def test_a_method_that_yields_takes_what_is_sent() -> None:
    model: Any = convert(Yielding())
    talk = model.talk()
    assert (next(talk), talk.send("x")) == (1, "x")
    assert not torch.overrides._get_current_function_mode_stack()  # type: ignore[no-untyped-call]
    with pytest.raises(StopIteration) as end:
        next(talk)
    assert end.value.value == 3


def test_codes_are_saved_through_torch() -> None:
    """Saved-tensor hooks see a product's activation at two bytes a value, and no copy of its weight."""
    for layer, x in ((nn.Linear(64, 32), torch.randn(128, 64)), (nn.Conv2d(16, 32, 1), torch.randn(2, 16, 4, 4)),
                     (nn.Conv2d(16, 32, 2), torch.randn(2, 16, 4, 4))):
        model, seen = convert(layer), list[torch.Tensor]()

        def look(t: torch.Tensor, seen: list[torch.Tensor] = seen) -> torch.Tensor:
            seen.append(t)
            return t

        with torch.autograd.graph.saved_tensors_hooks(look, lambda t: t):
            z = model(x.requires_grad_())
        z.sum().backward()
        weight = layer.weight
        own = [t for t in seen if t.untyped_storage().data_ptr() != weight.untyped_storage().data_ptr()]
        patches = 4 * 9 * 2 * 16 if isinstance(layer, nn.Conv2d) and layer.kernel_size == (2, 2) else x.numel()
        assert [(t.dtype, t.numel()) for t in own] == [(torch.int16, patches)]
        assert len(seen) == 2
        assert torch.as_tensor(weight.grad).abs().sum() > 0


def test_a_weight_that_changed_before_backward_is_refused() -> None:
    layer: Any = convert(nn.Linear(4, 3))
    z = layer(torch.randn(2, 4, requires_grad=True))
    with torch.no_grad():
        layer.weight.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        z.sum().backward()


def test_an_audit_travels_as_plain_data(tmp_path: Path) -> None:
    audit = Audit()
    audit.add("a", "mm", "unseen", 5)
    audit.add("a", "mm", "unseen", 2)
    audit.add("b", "other::op", "unseen", None)
    audit.add("b", "mm", "unseen", 0)
    audit.inside = 7
    other = Audit()
    other.load_state_dict(json.loads(json.dumps(audit.state_dict())))
    assert other.to_json() == audit.to_json() == {"macs": 14, "macs_outside": 7, "share": 0.5, "products": [
        {"layer": "b", "operator": "other::op", "why": "unseen", "macs": None, "share": None},
        {"layer": "a", "operator": "mm", "why": "unseen", "macs": 7, "share": 0.5}]}
    assert "'other::op' in layer 'b' (went round the arrays; MACs not known); 'mm' in layer 'a'" in audit.news()
    assert (audit.news(), other.news()) == ("", "")
