"""Which multiply-accumulates of a training step ran outside the arithmetic asked for: seen below torch's operators.

The router (:mod:`system.train.layers_routing`) sees torch's functions as a module calls them. What goes round it, a
scripted function or a product of sparse matrices, is seen here, where every operator ends: at the dispatcher. A
dispatch mode looks on in the first training step of each entry into a converted module, and in the backward of every
autograd.Function called there; it runs each operator as it is, so no bit changes, and it is off afterwards.

MACs of backward are those that the operator's derivative needs: for each factor with a gradient, as many again as
forward. They are counted when forward runs. What an autograd.Function does in its own backward is counted there.
Torch's vector work (element-wise, sums, norms), decompositions and solvers of matrices are no MACs here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

if TYPE_CHECKING:
    from collections.abc import Iterator

    from system.numerics.depthwise import Window
    from system.train.functions import Engine

#: why a product ran outside; the first two were asked for by the user's own hand
ASKED = NOT_CHOSEN, KEPT = "not chosen", "fp32()"
AUTOCAST, NO_FORM, UNSEEN = "autocast off", "no form", "unseen"
#: what a warning says of each
_WORDS = {AUTOCAST: "under autocast(enabled=False)", NO_FORM: "no form on the arrays",
          UNSEEN: "went round the arrays"}
#: (MACs of forward, of backward) of an operator's arguments and result; None where no count is known
Count = Callable[[Sequence[Any], Any], tuple[int, int] | None]


def _with_backward(macs: int, *factors: torch.Tensor | None) -> tuple[int, int]:
    """A bilinear operator: each factor's gradient takes as many MACs as forward."""
    wanted = sum(x is not None and x.requires_grad for x in factors) if torch.is_grad_enabled() else 0
    return macs, macs * wanted


def _matrices(first: int) -> Count:
    """Products of matrices and vectors, dense or sparse; first: which argument is the left one."""
    def count(args: Sequence[Any], out: Any) -> tuple[int, int]:
        left, right = args[first], args[first + 1]
        if right.layout != torch.strided:
            return _with_backward(right._nnz() * left.numel() // max(left.shape[-1], 1), left, right)
        columns = right.shape[-1] if right.dim() > 1 else 1
        return _with_backward((left.numel() if left.layout == torch.strided else left._nnz()) * columns, left, right)
    return count


def _outer(args: Sequence[Any], out: Any) -> tuple[int, int]:
    return _with_backward(args[1].numel() * args[2].numel(), args[1], args[2])


def _whole(args: Sequence[Any], out: Any) -> tuple[int, int]:
    """linear or matmul as one operator, as nested tensors and inference have it: each element a sum over the left
    one's last axis."""
    return _with_backward(int(out.numel()) * args[0].shape[-1], args[0], args[1])


def _convolution(args: Sequence[Any], out: Any) -> tuple[int, int]:
    x, w, transposed = args[0], args[1], len(args) > 6 and args[6] is True
    return _with_backward((x if transposed else out).numel() * w[0].numel(), x, w)


def _convolution_backward(args: Sequence[Any], out: Any) -> tuple[int, int]:
    delta, x, w, transposed, mask = args[0], args[1], args[2], args[7], args[10]
    return (x if transposed else delta).numel() * w[0].numel() * (mask[0] + mask[1]), 0


def _convolution_in_time(args: Sequence[Any], out: Any) -> tuple[int, int]:
    return _with_backward(out.numel() * args[1][..., 0].numel(), args[0], args[1])


def _distances(args: Sequence[Any], out: Any) -> tuple[int, int]:
    return _with_backward(args[0].numel() * args[1].shape[-2], args[0], args[1])


def _attention(args: Sequence[Any], out: Any) -> tuple[int, int]:
    q, k, v = args[:3]
    scores, values = q.numel() * k.shape[-2], q[..., 0].numel() * v.shape[-2] * v.shape[-1]
    forward, back = _with_backward(scores, q, k)
    return forward + values, back + sum(_with_backward(values, q if q.requires_grad else k, v)[1:])


def _recurrent(args: Sequence[Any], out: Any) -> tuple[int, int]:
    x, weights = args[0], [w for part in args[1:] for w in (part if isinstance(part, (list, tuple)) else (part,))
                           if isinstance(w, torch.Tensor) and w.dim() == 2]
    rows = x.numel() // max(x.shape[-1], 1)
    found = [_with_backward(rows * w.numel(), w, w) for w in weights]
    return sum(macs for macs, _ in found), sum(back for _, back in found)


def _unknown(args: Sequence[Any], out: Any) -> None:
    return None


#: operators of the dispatcher that multiply and add
COUNTS: Mapping[str, Count] = {
    **dict.fromkeys(("mm", "bmm", "mv", "dot", "vdot", "_scaled_mm", "_grouped_mm", "_sparse_mm"), _matrices(0)),
    **dict.fromkeys(("addmm", "addmv", "baddbmm", "addbmm", "_addmm_activation", "_sparse_addmm", "sspaddmm",
                     "sparse_sampled_addmm", "hspmm"), _matrices(1)),
    "addr": _outer, "linear": _whole, "matmul": _whole,
    **dict.fromkeys(("convolution", "_convolution", "conv1d", "conv2d", "conv3d"), _convolution),
    "convolution_backward": _convolution_backward, "conv_tbc": _convolution_in_time,
    **dict.fromkeys(("_cdist_forward", "_euclidean_dist"), _distances),
    **dict.fromkeys(("mkldnn_rnn_layer", "_cudnn_rnn", "miopen_rnn"), _recurrent),
    **dict.fromkeys(("_trilinear", "linalg_matrix_exp", "_native_multi_head_attention", "mkldnn_rnn_layer_backward",
                     "_transformer_encoder_layer_fwd"), _unknown),
}
#: namespaces of operators that move, create or tell
_PLAIN = ("aten", "prim", "prims", "profiler", "c10d", "_c10d_functional", "debugprims", "inductor")


def count(operator: Any, args: Sequence[Any], out: Any) -> tuple[str, tuple[int, int] | None] | None:
    """An operator's name and MACs; None for one that makes no products."""
    space, _, name = operator._schema.name.partition("::")
    first = out[0] if isinstance(out, (list, tuple)) and out else out
    if not isinstance(first, torch.Tensor) or not (first.is_floating_point() or first.is_complex()):
        return None
    if space not in _PLAIN:
        return f"{space}::{name}", None
    plain = name.removesuffix("_")
    attention = plain.startswith("_scaled_dot_product") and "backward" not in plain
    counter = _attention if attention else COUNTS.get(plain)
    return None if counter is None else (plain, counter(args, out))


@dataclass(frozen=True)
class Outside:
    """Products of one operator in one layer that ran outside the arithmetic asked for. why: "no form" (the router
    knows it and it has none), "unseen" (it went round the router), "autocast off", "fp32()" or "not chosen" (by
    `choose`). macs: None where no count is known. share: of all MACs of the step."""

    layer: str
    operator: str
    why: str
    macs: int | None
    share: float | None


@dataclass
class Audit:
    """What the first training step multiplied, and where. An entry is a converted module's method that was called
    from outside; each is looked at in its first call with gradients. Until there is one, calls without stand in."""

    inside: int = 0  #: MACs in the arithmetic asked for
    found: dict[tuple[str, str, str], int | None] = field(default_factory=dict)
    trained: set[str] = field(default_factory=set)
    judged: set[str] = field(default_factory=set)  #: entries seen without gradients alone
    told: set[tuple[str, str, str]] = field(default_factory=set)

    def due(self, entry: str) -> bool:
        """Whether this call is to be looked at; it is taken as such."""
        if entry in self.trained or (not torch.is_grad_enabled() and entry in self.judged):
            return False
        if not torch.is_grad_enabled():
            self.judged.add(entry)
            return not self.trained
        if not self.trained:
            self.inside = 0
            self.found.clear()
        self.trained.add(entry)
        return True

    def add(self, layer: str, operator: str, why: str, macs: int | None) -> None:
        """Products outside."""
        if macs != 0:
            key = (layer, operator, why)
            before = self.found.get(key, 0)
            self.found[key] = None if macs is None or before is None else before + macs

    @property
    def total(self) -> int:
        """MACs counted, inside and outside."""
        return self.inside + sum(macs or 0 for macs in self.found.values())

    @property
    def share(self) -> float:
        """Of all MACs counted, those outside."""
        return (self.total - self.inside) / self.total if self.total else 0.0

    def outside(self) -> tuple[Outside, ...]:
        """Most MACs first; those that are not known before all."""
        rows = [Outside(*key, macs, None if macs is None else macs / self.total) for key, macs in self.found.items()]
        return tuple(sorted(rows, key=lambda row: (row.macs is not None, -(row.macs or 0), row.layer, row.operator)))

    def news(self) -> str:
        """What has not been said yet, as one line; empty where there is nothing. What the user asked for is not."""
        rows = [row for row in self.outside()
                if row.why not in ASKED and (row.layer, row.operator, row.why) not in self.told]
        self.told.update((row.layer, row.operator, row.why) for row in rows)
        if not rows:
            return ""
        return (f"outside the arrays, in FP32: {'; '.join(in_words(row) for row in rows)}; write them as linear, "
                "convolution or matmul in Python, or put fp32() of system.train around what is to stay")

    def to_json(self) -> dict[str, Any]:
        """Plain data: {"macs", "macs_outside", "share", "products": [{"layer", "operator", "why", "macs", "share"}]},
        of the first training step."""
        return {"macs": self.total, "macs_outside": self.total - self.inside, "share": self.share,
                "products": [dict(vars(row)) for row in self.outside()]}

    def state_dict(self) -> dict[str, Any]:
        """Plain data from which :meth:`load_state_dict` goes on."""
        return {"inside": self.inside, "found": [[*key, macs] for key, macs in self.found.items()],
                "trained": sorted(self.trained), "judged": sorted(self.judged)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up where another left off; what it found counts as told."""
        self.inside = int(state["inside"])
        self.found = {(layer, operator, why): macs for layer, operator, why, macs in state["found"]}
        self.trained, self.judged, self.told = set(state["trained"]), set(state["judged"]), set(self.found)


def in_words(row: Outside) -> str:
    """A row for people."""
    where = f"layer '{row.layer}'" if row.layer else "the module itself"
    much = "MACs not known" if row.macs is None else f"{row.macs:,} MACs, {row.share:.2%} of the step's"
    return f"'{row.operator}' in {where} ({_WORDS.get(row.why, row.why)}; {much})"


class Looking(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts every operator's products into an audit; `where` tells layer and reason of what runs now."""

    def __init__(self, audit: Audit, where: Callable[[], tuple[str, str]]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.audit, self.where, self.away = audit, where, 0
        self.task = torch._C._current_graph_task_id()  #: the backward that runs around, or −1

    @property
    def elsewhere(self) -> bool:
        """Whether a backward within runs: its products were counted with their forward."""
        return torch._C._current_graph_task_id() != self.task

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple[Any, ...] = (),
                           kwargs: Mapping[str, Any] | None = None) -> Any:
        with torch._C.DisableTorchFunction():  # the router was asked above; below it nothing may be sent elsewhere
            out = func(*args, **(kwargs or {}))
            found = None if self.away or self.elsewhere else count(func, args, out)
        if found is not None:
            name, macs = found
            layer, why = self.where()
            self.audit.add(layer, name, why, None if macs is None else sum(macs))
        return out


class Counted:
    """An engine whose products are counted as inside, whatever torch operators it is made of."""

    def __init__(self, engine: Engine, looking: Looking) -> None:
        self.engine, self.looking = engine, looking

    @contextmanager
    def _of(self, macs: int, *factors: torch.Tensor) -> Iterator[None]:
        self.looking.audit.inside += sum(_with_backward(macs, *factors))
        self.looking.away += 1
        try:
            yield
        finally:
            self.looking.away -= 1

    def product(self, a: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        """As the engine's."""
        with self._of(a.numel() * w.shape[1], a, w):
            return self.engine.product(a, w)

    def conv2d(self, x: torch.Tensor, w: torch.Tensor, window: Window, groups: int) -> torch.Tensor:
        """As the engine's."""
        height, width = window.out(x.shape[2], x.shape[3])
        with self._of(len(x) * height * width * w.numel(), x, w):
            return self.engine.conv2d(x, w, window, groups)
