"""How our counts compare with torch's FlopCounterMode: docs/counts.md, a model of each torchvision and timm family.

Of each family the model with the fewest parameters, at its own size, a batch of two. Forward is compared with
FlopCounterMode (its operations halved). It ignores groups backward, so a step is counted by hand from its forward
formulas: an input gradient costs a product's forward multiply-accumulates wherever autograd wants one, a weight
gradient those again. Run: python tools/counts.py [--choose]; --choose looks for the smallest models anew, which
builds every model once (a quarter of an hour). Needs torchvision, timm and transformers; without one its rows are
left out.
"""

from __future__ import annotations

import importlib
import importlib.util
import re
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode, flop_registry

from charlib.errors import BadInput
from system.train.tracing import trace

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "counts.md"
BATCH = 2
Shape = tuple[int, ...]
#: why FlopCounterMode has less: operators that multiply and add, of which it knows nothing
UNKNOWN_THERE = ("mv", "dot", "_grouped_mm", "_trilinear", "addmv", "addbmm")


@dataclass(frozen=True)
class Row:
    """One family. Forward of a batch, and a step of it; `why`: what kept it from being counted or compared."""

    source: str
    family: str
    model: str
    size: str = ""
    ours: int | None = None
    counter: int | None = None
    ours_step: int | None = None
    by_hand_step: int | None = None
    why: str = ""

    @property
    def equal(self) -> bool:
        return self.ours is not None and self.ours == self.counter and self.ours_step == self.by_hand_step


class ByHand(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """A step's multiply-accumulates: FlopCounterMode's forward formulas, by what autograd wants of each product."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.step = 0
        self.left_out: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple[Any, ...] = (),
                           kwargs: dict[str, Any] | None = None) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        op = func.overloadpacket
        if op in flop_registry:
            macs = flop_registry[op](*args, **kwargs, out_val=out) // 2
            wanted = [torch.is_grad_enabled() and isinstance(a, torch.Tensor) and a.requires_grad for a in args]
            name = op._qualified_op_name.removeprefix("aten::")
            left, right = wanted[1:3] if name in ("addmm", "baddbmm") else wanted[:2]
            self.step += macs * (1 + left + right)
        elif op._qualified_op_name.removeprefix("aten::") in UNKNOWN_THERE:
            self.left_out.add(op._qualified_op_name.removeprefix("aten::"))
        return out


def count(module: nn.Module, shape: Shape, dtype: torch.dtype, batch: int = BATCH) -> tuple[int, int, set[str]]:
    """FlopCounterMode's forward of a batch and a step by hand, and products of which it knows nothing.

    Attention runs as plain products, since it does not know the one operator that a CPU has for it.
    """
    module.train()
    counter, by_hand = FlopCounterMode(display=False), ByHand()
    plain = torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH)
    with (FakeTensorMode(allow_non_fake_inputs=True), torch.enable_grad(), plain,
          torch.backends.mkldnn.flags(enabled=False)):
        held = {name: torch.empty(t.shape, dtype=t.dtype).requires_grad_(t.requires_grad)
                for name, t in (*module.named_parameters(), *module.named_buffers())}
        with counter, by_hand:
            torch.func.functional_call(module, held, (torch.zeros((batch, *shape), dtype=dtype),))
    return counter.get_total_flops() // 2, by_hand.step, by_hand.left_out


def compare(source: str, family: str, model: str, module: nn.Module, shape: Shape, dtype: torch.dtype = torch.float32
            ) -> Row:
    """One row."""
    size = " × ".join(map(str, shape))
    try:
        network = trace(module, shape, model, dtype)
    except BadInput as error:
        return Row(source, family, model, size, why=str(error).removeprefix("trace: "))
    try:
        forward, step, left_out = count(module, shape, dtype)
    except Exception as error:
        return Row(source, family, model, size, why=f"FlopCounterMode: {type(error).__name__}: {str(error)[:80]}")
    ours = sum(x.macs * x.times(BATCH) for x in network.mac_layers)
    ours_step = sum(x.macs * x.passes * x.times(BATCH) for x in network.mac_layers)
    why = ""
    if (ours, ours_step) != (forward, step) and left_out:
        why = f"FlopCounterMode does not count {', '.join(sorted(left_out))}"
    return Row(source, family, model, size, ours, forward, ours_step, step, why)


# -- the models -----------------------------------------------------------------------------------------------


def torchvision_operators() -> object:
    """Declares torchvision's compiled operators where its library does not fit this torch: counting needs none."""
    found = importlib.util.find_spec("torchvision")
    if found is None or found.origin is None:
        return None
    try:
        torch.ops.load_library(str(Path(found.origin).parent / "_C.so"))  # type: ignore[no-untyped-call]
    except OSError:
        text = (Path(found.origin).parent / "_meta_registrations.py").read_text(encoding="utf-8")
        library = torch.library.Library("torchvision", "DEF")  # type: ignore[no-untyped-call]
        for name in set(re.findall(r'register_(?:meta|fake)\("(?:torchvision::)?(\w+)"\)', text)):
            library.define(f"{name}(Tensor x) -> Tensor")  # type: ignore[no-untyped-call]
        return library
    return None


_LIBRARY = torchvision_operators()


def smallest(names: Iterator[str], build: Callable[[str], nn.Module]) -> str | None:
    """The name whose model has the fewest parameters; without data, unless the builder looks at its weights."""
    sizes = []
    for name in names:
        try:
            with torch.device("meta"):
                module = build(name)
        except Exception:
            try:
                module = build(name)
            except Exception as error:
                print(f"{name}: {error}", file=sys.stderr)
                continue
        sizes.append((sum(p.numel() for p in module.parameters()), name))
    return min(sizes)[1] if sizes else None


def chosen(page: str) -> dict[tuple[str, str], str]:
    """(source, family) -> model of a page's rows."""
    rows = re.findall(r"^\| (torchvision|timm|transformers) \| `([^`]+)` \| `([^`]+)`", page, re.M)
    return {(source, family): model for source, family, model in rows}


def torchvision_rows(known: dict[tuple[str, str], str]) -> Iterator[Row]:
    models = importlib.import_module("torchvision.models")
    families: dict[str, list[str]] = {}
    for name in models.list_models(module=models):
        families.setdefault(models.get_model_builder(name).__module__.rpartition(".")[2], []).append(name)
    for family, names in sorted(families.items()):
        model = known.get(("torchvision", family)) or smallest(iter(names), models.get_model) or names[0]
        yield torchvision_row(family, model)


def torchvision_row(family: str, model: str) -> Row:
    models = importlib.import_module("torchvision.models")
    side = 299 if family == "inception" else 224
    options = {"init_weights": False} if family in ("inception", "googlenet") else {}
    return compare("torchvision", family, model, models.get_model(model, **options), (3, side, side))


def timm_rows(known: dict[tuple[str, str], str]) -> Iterator[Row]:
    timm = importlib.import_module("timm")
    for family in timm.list_modules():
        names = timm.list_models(module=family)
        if names:
            model = known.get(("timm", family)) or smallest(iter(names), timm.create_model) or names[0]
            yield timm_row(family, model)


def timm_row(family: str, model: str) -> Row:
    timm = importlib.import_module("timm")
    try:
        module = timm.create_model(model)
    except Exception as error:
        return Row("timm", family, model, why=f"cannot be built: {type(error).__name__}: {str(error)[:80]}")
    return compare("timm", family, model, module, tuple(module.default_cfg["input_size"]))


def transformers_rows(known: dict[tuple[str, str], str]) -> Iterator[Row]:
    for family in ("gpt2", "albert", "mixtral"):
        yield transformers_row(family, "")


def transformers_row(family: str, model: str) -> Row:
    """Small random configurations, 16 words a sample."""
    t = importlib.import_module("transformers")
    if family == "gpt2":
        module = t.GPT2LMHeadModel(t.GPT2Config(n_layer=2, n_embd=64, n_head=4, vocab_size=512, use_cache=False))
    elif family == "albert":
        module = t.AlbertForSequenceClassification(t.AlbertConfig(
            hidden_size=64, num_hidden_layers=3, num_attention_heads=4, intermediate_size=128, vocab_size=512))
    else:
        module = t.MixtralForCausalLM(t.MixtralConfig(
            hidden_size=64, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, intermediate_size=96,
            vocab_size=512, num_local_experts=4, use_cache=False), )
        module.set_experts_implementation("batched_mm")
    return compare("transformers", family, type(module).__name__, module, (16,), torch.int64)


SOURCES: dict[str, Callable[[dict[tuple[str, str], str]], Iterator[Row]]] = {
    "torchvision": torchvision_rows, "timm": timm_rows, "transformers": transformers_rows}
ROW: dict[str, Callable[[str, str], Row]] = {
    "torchvision": torchvision_row, "timm": timm_row, "transformers": transformers_row}


# -- the page -------------------------------------------------------------------------------------------------


def page(rows: list[Row], versions: str) -> str:
    """The whole page."""
    counted = [row for row in rows if row.ours is not None]
    equal = sum(row.equal for row in counted)
    lines = [
        "# Counts beside torch's own counter", "",
        f"Made by `python tools/counts.py` with {versions}. Of each family the model with the fewest parameters, at "
        f"its own size, a batch of {BATCH}, followed as `himc estimate file.py:build` does. Forward stands beside "
        "`FlopCounterMode`, its operations halved, with attention as plain products: it does not know the CPU's one "
        "operator for it. Backward it ignores groups, so a step stands beside a count by hand from its forward "
        "formulas: an input gradient costs a product's forward multiply-accumulates wherever autograd wants one, a "
        "weight gradient those again.", "",
        f"{len(counted)} of {len(rows)} families are counted; {equal} of them are equal to the last "
        "multiply-accumulate, forward and in a step.", "",
        "| source | family | model | input | forward, ours | FlopCounterMode | difference | a step, ours | by hand | "
        "difference |", "|---|---|---|---|---:|---:|---:|---:|---:|---:|"]
    lines += [f"| {r.source} | `{r.family}` | `{r.model}` | {r.size} | {r.ours:,} | {r.counter:,} | "
              f"{_difference(r.ours, r.counter)} | {r.ours_step:,} | {r.by_hand_step:,} | "
              f"{_difference(r.ours_step, r.by_hand_step)} |" for r in counted]
    for title, found in (("Where they differ", [r for r in counted if not r.equal]),
                         ("Families that are not counted", [r for r in rows if r.ours is None])):
        if found:
            lines += ["", f"## {title}", "", "| source | family | model | why |", "|---|---|---|---|"]
            lines += [f"| {r.source} | `{r.family}` | `{r.model}` | {r.why.replace('|', '/')} |" for r in found]
    return "\n".join(lines) + "\n"


def _difference(ours: int | None, theirs: int | None) -> str:
    return "0" if ours == theirs else f"{(ours or 0) - (theirs or 0):+,}"


def main(arguments: list[str]) -> None:
    """Write the page."""
    warnings.simplefilter("ignore")
    known = {} if "--choose" in arguments or not PAGE.is_file() else chosen(PAGE.read_text(encoding="utf-8"))
    rows, versions = [], [f"torch {torch.__version__}"]
    for source, make in SOURCES.items():
        if importlib.util.find_spec(source) is None:
            print(f"{source} is not installed; its rows are left out", file=sys.stderr)
            continue
        versions.append(f"{source} {importlib.import_module(source).__version__.partition('+')[0]}")
        for row in make(known):
            print(f"{row.source} {row.family} {row.model}: {row.ours} {row.counter} {row.ours_step} "
                  f"{row.by_hand_step} {'equal' if row.equal else row.why or 'DIFFERS'}", flush=True)
            rows.append(row)
    PAGE.write_text(page(rows, ", ".join(versions)), encoding="utf-8")
    print(f"{PAGE}: {len(rows)} families")


if __name__ == "__main__":
    main(sys.argv[1:])
