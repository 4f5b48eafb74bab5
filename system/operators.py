"""Operators of the vector unit: operations per element, forward and backward, with their derivations.

Counts are (adds, multiplies, compares) per element; :data:`ACCESSES` are the buffer accesses that go with them. An
operator without a count is an error, never zero; what moves or renames data only (views, permutations, copies,
concatenations) is addressing and no operator [I]. Work once a row or a channel (a reciprocal square root, a scale
folded ahead) is below one part in its length and is not counted.

Shared parts: exp is an order-5 polynomial after range reduction (6 multiplies, 6 adds); a division is 3 multiplies
and 1 add (one Newton step on a table value); σ(x) = 1 / (1 + exp(−x)) is therefore 9 multiplies and 8 adds.
"""

from __future__ import annotations

from dataclasses import dataclass

from charlib.errors import BadInput

Operations = tuple[int, int, int]

VECTOR_OPERATIONS: dict[str, tuple[Operations, Operations]] = {
    # forward: Σx, Σx² (1 multiply, 2 adds), then (x − µ)·s·γ + β with s·γ folded (1 multiply, 2 adds).
    # backward: recompute x̂ (1 add, 1 multiply), Σdy, Σdy·x̂ (2 adds, 1 multiply),
    #           dx = k·(dy − a − x̂·b) (2 adds, 2 multiplies).
    "batch_norm": ((4, 2, 0), (5, 4, 0)),
    # forward: Σx, x − µ, Σ(x − µ)² (3 adds, 1 multiply), ·s·γ + β, s by row and γ by column (1 add, 2 multiplies).
    # backward: recompute x̂ (1 add, 1 multiply), g = dy·γ (1 multiply), Σg, Σg·x̂ (2 adds, 1 multiply),
    #           dγ, dβ (2 adds, 1 multiply), dx = s·(g − a − x̂·b) (2 adds, 2 multiplies).
    "layer_norm": ((4, 3, 0), (7, 6, 0)),
    "relu": ((0, 0, 1), (0, 0, 1)),
    "relu6": ((0, 0, 2), (0, 0, 2)),
    "leaky_relu": ((0, 1, 1), (0, 1, 1)),
    "sigmoid": ((8, 9, 0), (1, 2, 0)),  # backward: dy·y·(1 − y)
    "tanh": ((9, 10, 0), (1, 2, 0)),  # 1 − 2σ(−2x), the factor of x folded; backward: dy·(1 − y²)
    # x / (1 + exp(−x)); backward: σ again, then dy·σ·(1 + x·(1 − σ)) (2 adds, 3 multiplies).
    "swish": ((8, 10, 0), (10, 12, 0)),
    # x·tanh(softplus(x)): softplus and tanh (22 adds, 22 multiplies), the product; backward: both again, then
    # dy·(t + x·(1 − t²)·σ), σ from softplus's exp (3 adds, 8 multiplies).
    "mish": ((22, 23, 1), (25, 31, 1)),
    # polynomial of order 5 in 1 / (1 + p·|x|) times exp(−x²): 1 division, exp (6 adds, 7 multiplies), 5 steps.
    # backward: dy·exp(−x²)·2/√π
    "erf": ((13, 17, 1), (6, 9, 0)),
    "sine": ((7, 8, 0), (7, 9, 0)),  # range reduction and an odd polynomial of order 11; backward: dy·cos(x)
    "log": ((6, 6, 0), (1, 4, 0)),  # as exp; backward: dy/x
    "power": ((12, 13, 0), (12, 15, 0)),  # exp(p·log x); backward: dy·p·x^(p − 1)
    "cube": ((0, 2, 0), (0, 3, 0)),  # x·x·x; backward: dy·3·x²
    # one of several functions of one variable (arcus, hyperbolic, gamma), as exp, a division and a step more [I]
    "function": ((8, 10, 0), (8, 11, 0)),
    "elu": ((7, 7, 1), (1, 1, 1)),  # α·(exp(x) − 1) below zero; backward: dy·(y + α)
    # log(1 + exp(x)): exp and its sum (7 adds, 6 multiplies), logarithm as exp; backward: dy·σ(x).
    "softplus": ((13, 12, 1), (8, 10, 1)),
    "hardsigmoid": ((1, 1, 2), (0, 1, 2)),  # clamp(x + 3, 0, 6)/6
    "hardswish": ((1, 2, 2), (1, 2, 2)),  # x·clamp(x + 3, 0, 6)/6; backward: dy·(x/3 + ½) inside the limits
    # tanh form [I]: x·σ(u), u = x·(a + b·x²) (1 add, 3 multiplies), σ and the product (8 adds, 10 multiplies).
    # backward: all but the product again, then dy·(σ + x·u'·σ·(1 − σ)), u' = a + 3b·x² (3 adds, 5 multiplies).
    "gelu": ((9, 13, 0), (12, 17, 0)),
    # maximum (1 compare), exp(x − maximum), Σ (1 add), division; backward: (p − target)/n.
    "softmax_loss": ((8, 9, 1), (1, 1, 0)),
    "softmax": ((8, 9, 1), (2, 2, 0)),  # backward: y·(dy − Σdy·y)
    "scale": ((0, 1, 0), (0, 1, 0)),
    "mask": ((0, 0, 1), (0, 0, 1)),  # scores outside a mask are replaced; their gradients stop
    "shift": ((1, 0, 0), (0, 0, 0)),  # a constant added
    "gain": ((0, 1, 0), (1, 2, 0)),  # a learned factor; backward: dy·p, Σdy·x
    "divide": ((1, 3, 0), (1, 6, 0)),  # backward: 1/b again, dy/b, −dy·y/b
    "exp": ((6, 6, 0), (0, 1, 0)),
    "rsqrt": ((1, 4, 0), (0, 3, 0)),  # one Newton step on a table value; backward: −dy·y³/2
    "multiply": ((0, 1, 0), (0, 2, 0)),  # two tensors, element by element (gates); backward: dy by each
    "residual": ((1, 0, 0), (1, 0, 0)),  # backward: the two branches' gradients are added
    "bias": ((1, 0, 0), (1, 0, 0)),  # backward: Σdy
    "position_add": ((1, 0, 0), (1, 0, 0)),  # a learned tensor added to each sample; backward: Σdy over samples
    "embedding": ((0, 0, 0), (1, 0, 0)),  # forward copies rows of a table; backward adds into them
    "interpolate": ((6, 3, 0), (4, 4, 0)),  # three steps a + t·(b − a); backward: four shares added
    # Σv², v·g/‖v‖ of weights, once a step; backward: Σdw·v, dv = s·(dw − v·c) (2 adds, 3 multiplies)
    "weight_norm": ((1, 2, 0), (2, 3, 0)),
    "average_pool": ((1, 0, 0), (0, 1, 0)),  # an element of a window: one add; backward spreads d/(h·w)
    "max_pool": ((0, 0, 1), (1, 0, 0)),  # an element of a window: one compare; backward adds d or 0 to it
    "norm": ((1, 1, 0), (0, 1, 0)),  # Σx², the root once a row; backward: dy·x/‖x‖
    "variance": ((3, 1, 0), (1, 1, 0)),  # Σx, x − µ, Σ(x − µ)²; backward: (x − µ)·2·dy/n
    # batch norm on statistics that it keeps: x·s + t, a channel's own; backward: x̂, Σdy, Σdy·x̂, dx = dy·s.
    "channel_affine": ((1, 1, 0), (3, 3, 0)),
    "sum": ((1, 0, 0), (0, 0, 0)),  # running sums and sums that meet at an index; backward: the gradient is spread
    "running_sum": ((1, 0, 0), (1, 0, 0)),  # backward: the sum runs the other way
    "running_product": ((0, 1, 0), (1, 5, 0)),  # backward: the sum of dy·y runs the other way, divided by x
    "compare": ((0, 0, 1), (0, 0, 0)),  # no gradient passes
    "choose": ((0, 0, 1), (0, 0, 1)),  # the larger or smaller of two; backward: to the one
    "sort": ((0, 0, 1), (1, 0, 0)),  # an element of a step of a merge: one compare; backward adds to its place
    "overlap_add": ((1, 0, 0), (0, 0, 0)),  # windows added where they overlap; backward copies
    "gather": ((0, 0, 0), (1, 0, 0)),  # windows, mirrored borders, rows that a sample asks for; backward adds
    "step": ((1, 2, 0), (1, 2, 0)),  # a + t·(b − a), a + t·b·c and the like; backward: a share for each
    "parameters": ((0, 0, 0), (0, 0, 0)),  # joined or cut before their use, with state and update of their own
    "dropout": ((1, 1, 1), (0, 1, 0)),  # a random word (1 add), compare, scale
    "col2im": ((1, 0, 0), (0, 0, 0)),  # a transposed convolution's products added where they overlap
}

#: buffer accesses per element (forward, backward); 0: fused with its neighbour
ACCESSES: dict[str, tuple[int, int]] = {
    "batch_norm": (3, 5),  # statistics, normalise, store; backward: dy and x twice, store
    "layer_norm": (3, 5),
    "relu": (0, 0), "relu6": (0, 0), "leaky_relu": (0, 0), "elu": (0, 0), "softplus": (0, 0),
    "sigmoid": (0, 0), "tanh": (0, 0), "swish": (0, 0),
    "hardsigmoid": (0, 0), "hardswish": (0, 0), "gelu": (0, 0), "scale": (0, 0), "mask": (0, 0), "bias": (0, 0),
    "dropout": (0, 0), "position_add": (1, 1),
    "shift": (0, 0), "gain": (0, 1), "exp": (0, 0), "rsqrt": (0, 0), "divide": (3, 5),
    "mish": (0, 0), "erf": (0, 0), "sine": (0, 0), "log": (0, 0), "power": (0, 0), "cube": (0, 0), "function": (0, 0),
    "norm": (1, 2), "variance": (2, 2), "channel_affine": (0, 3), "sum": (1, 1), "running_sum": (2, 2),
    "running_product": (2, 4), "compare": (0, 0), "choose": (0, 0), "sort": (2, 2), "overlap_add": (2, 1),
    "gather": (2, 3), "step": (3, 5), "parameters": (0, 0),
    "multiply": (3, 5),  # backward: dy and both operands, two results
    "residual": (3, 2), "average_pool": (1, 1), "softmax_loss": (2, 2),
    "softmax": (3, 4),  # read for maximum and Σ, again, store; backward: y and dy for the sum, again, store fused
    "interpolate": (5, 8), "weight_norm": (3, 4), "embedding": (2, 3), "max_pool": (1, 2), "col2im": (2, 1),
}  # fmt: skip


@dataclass(frozen=True)
class OperatorCount:
    """What one element of an operator's output costs: (adds, multiplies, compares), forward and backward, and the
    elements that it reads and writes in the buffer in either pass, 0 where it is fused with its neighbour.

    A file of one's own gives counts of operators that have none here: `OPERATOR_COUNTS = {"erfinv":
    OperatorCount((12, 14, 0), (7, 9, 0))}`, by the name that the message says.
    """

    forward: Operations
    backward: Operations = (0, 0, 0)
    accesses: tuple[int, int] = (1, 1)

    def __post_init__(self) -> None:
        for name, size in (("forward", 3), ("backward", 3), ("accesses", 2)):
            value = getattr(self, name)
            if not (isinstance(value, tuple) and len(value) == size and all(
                    isinstance(n, int) and not isinstance(n, bool) and n >= 0 for n in value)):
                what = ("adds, multiplies and compares an element" if size == 3 else
                        "elements moved forward and backward")
                raise BadInput(f"OperatorCount: {name} takes {size} whole numbers of at least 0, {what}, "
                               f"got {value!r}")


def count_of(kind: str) -> OperatorCount:
    """That of a kind counted here."""
    return OperatorCount(*VECTOR_OPERATIONS[kind], ACCESSES[kind])


#: operators with a scale and a shift a channel
AFFINE = ("batch_norm", "layer_norm")


@dataclass(frozen=True)
class VectorCount:
    """Operations of the vector unit."""

    adds: int = 0
    multiplies: int = 0
    compares: int = 0

    @property
    def total(self) -> int:
        return self.adds + self.multiplies + self.compares

    def __add__(self, other: VectorCount) -> VectorCount:
        return VectorCount(self.adds + other.adds, self.multiplies + other.multiplies,
                           self.compares + other.compares)

    def times(self, n: int) -> VectorCount:
        return VectorCount(self.adds * n, self.multiplies * n, self.compares * n)
