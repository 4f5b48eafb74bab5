"""torch's recurrent layers by way of an engine: LSTM, GRU and RNN, whole or a cell, padded or packed.

Two products a step, as torch has them: the input's weights see all steps at once, the state's weights one step after
another; then gates, sums and non-linearities in FP32 on the vector unit. A weight used in every step gets its
gradient as any shared weight does: a fused tree over each step's samples, and FP32 sums over the steps.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch.nn import functional

from system.train.functions import Engine
from system.train.layers_products import NoForm, linear

State = tuple[torch.Tensor, ...]  #: h, and of an LSTM c
#: (the input's share, the state's share, state) -> next state, before any projection
Gates = Callable[[torch.Tensor, torch.Tensor, State], State]


def _lstm_gates(x: torch.Tensor, h: torch.Tensor, state: State) -> State:
    enter, forget, new, leave = (x + h).chunk(4, dim=-1)
    c = forget.sigmoid() * state[1] + enter.sigmoid() * new.tanh()
    return leave.sigmoid() * c.tanh(), c


def _gru_gates(x: torch.Tensor, h: torch.Tensor, state: State) -> State:
    (reset_x, update_x, new_x), (reset_h, update_h, new_h) = x.chunk(3, dim=-1), h.chunk(3, dim=-1)
    update = (update_x + update_h).sigmoid()
    new = (new_x + (reset_x + reset_h).sigmoid() * new_h).tanh()
    return (update * (state[0] - new) + new,)


def _tanh_gates(x: torch.Tensor, h: torch.Tensor, state: State) -> State:
    return ((x + h).tanh(),)


def _relu_gates(x: torch.Tensor, h: torch.Tensor, state: State) -> State:
    return ((x + h).relu(),)


def _stepped(engine: Engine, gates: Gates, x: torch.Tensor, state: State, weights: Sequence[torch.Tensor | None]
             ) -> State:
    """One step. x: the input's share, its product made; weights: of the state, its bias, of a projection."""
    words, bias, projection = weights
    assert words is not None
    h, *rest = gates(x, linear(engine, state[0], words, bias), state)
    return (h if projection is None else linear(engine, h, projection), *rest)


def _direction(engine: Engine, gates: Gates, rows: torch.Tensor, sizes: Sequence[int], state: State,
               weights: Sequence[torch.Tensor | None], back: bool) -> tuple[torch.Tensor, State]:
    """One layer in one direction. rows: the steps' samples one after another, `sizes` of them a step, never more than
    in the step before. Returns all outputs in that order, and each sample's last state."""
    words, state_words, bias, state_bias, projection = weights
    assert words is not None
    shares = torch.split(linear(engine, rows, words, bias), list(sizes))
    now: State = tuple(part[:sizes[-1] if back else sizes[0]] for part in state)
    outputs, ended = [], []
    for step in (reversed(range(len(sizes))) if back else range(len(sizes))):
        count, held = sizes[step], len(now[0])
        if count > held:  # backwards: samples that begin here
            now = tuple(torch.cat([part, first[held:count]]) for part, first in zip(now, state, strict=True))
        elif count < held:  # forwards: samples that have ended
            ended.append(tuple(part[count:] for part in now))
            now = tuple(part[:count] for part in now)
        now = _stepped(engine, gates, shares[step], now, (state_words, state_bias, projection))
        outputs.append(now[0])
    last = tuple(torch.cat([part, *(e[k] for e in reversed(ended))]) for k, part in enumerate(now))
    return torch.cat(outputs[::-1] if back else outputs), last


def _layers(engine: Engine, gates: Gates, rows: torch.Tensor, sizes: Sequence[int], state: State,
            weights: Sequence[torch.Tensor], has_biases: bool, num_layers: int, dropout: float, train: bool,
            bidirectional: bool) -> tuple[torch.Tensor, State]:
    """All layers. state: (layers · directions, samples, features); weights: torch's flat list."""
    ways = 2 if bidirectional else 1
    each = len(weights) // (num_layers * ways)
    finals = []
    for layer in range(num_layers):
        if layer and dropout and train:
            rows = functional.dropout(rows, dropout, training=True)
        outputs = []
        for way in range(ways):
            place = layer * ways + way
            own: list[torch.Tensor | None] = list(weights[place * each:(place + 1) * each])
            full = [*own[:2], *(own[2:4] if has_biases else (None, None)),
                    own[-1] if each > (4 if has_biases else 2) else None]
            out, last = _direction(engine, gates, rows, sizes, tuple(part[place] for part in state), full, way == 1)
            outputs.append(out)
            finals.append(last)
        rows = torch.cat(outputs, dim=-1) if bidirectional else outputs[0]
    return rows, tuple(torch.stack([last[k] for last in finals]) for k in range(len(state)))


def _whole(engine: Engine, gates: Gates, input: torch.Tensor, arguments: Sequence[object]
           ) -> tuple[torch.Tensor, ...]:
    """Either of torch's two calls: (hx, weights, …, batch_first) padded, (batch_sizes, hx, weights, …) packed."""
    packed = isinstance(arguments[2], (list, tuple))
    sizes, (hx, weights, *rest) = (arguments[0] if packed else None), arguments[1 if packed else 0:]
    state = tuple(hx) if isinstance(hx, (list, tuple)) else (hx,)
    if isinstance(sizes, torch.Tensor):
        out, last = _layers(engine, gates, input, sizes.tolist(), state, weights, *rest)  # type: ignore[arg-type]
        return out, *last
    *rest, batch_first = rest
    steps = input.transpose(0, 1) if batch_first else input
    length, samples = steps.shape[:2]
    out, last = _layers(engine, gates, steps.reshape(length * samples, -1), [samples] * length,
                        state, weights, *rest)  # type: ignore[arg-type]
    out = out.reshape(length, samples, -1)
    return out.transpose(0, 1) if batch_first else out, *last


def lstm(engine: Engine, input: torch.Tensor, *arguments: object) -> tuple[torch.Tensor, ...]:
    """torch's function behind nn.LSTM -> (outputs, last h, last c)."""
    return _whole(engine, _lstm_gates, input, arguments)


def gru(engine: Engine, input: torch.Tensor, *arguments: object) -> tuple[torch.Tensor, ...]:
    """torch's function behind nn.GRU -> (outputs, last h)."""
    return _whole(engine, _gru_gates, input, arguments)


def rnn_tanh(engine: Engine, input: torch.Tensor, *arguments: object) -> tuple[torch.Tensor, ...]:
    """torch's function behind nn.RNN -> (outputs, last h)."""
    return _whole(engine, _tanh_gates, input, arguments)


def rnn_relu(engine: Engine, input: torch.Tensor, *arguments: object) -> tuple[torch.Tensor, ...]:
    """torch's function behind nn.RNN(nonlinearity="relu") -> (outputs, last h)."""
    return _whole(engine, _relu_gates, input, arguments)


def _cell(engine: Engine, gates: Gates, input: torch.Tensor, state: State, w_ih: torch.Tensor, w_hh: torch.Tensor,
          b_ih: torch.Tensor | None, b_hh: torch.Tensor | None) -> State:
    if input.dim() != 2:
        raise NoForm
    return _stepped(engine, gates, linear(engine, input, w_ih, b_ih), state, (w_hh, b_hh, None))


def lstm_cell(engine: Engine, input: torch.Tensor, hx: Sequence[torch.Tensor], w_ih: torch.Tensor, w_hh: torch.Tensor,
              b_ih: torch.Tensor | None = None, b_hh: torch.Tensor | None = None) -> State:
    """One step of an LSTM -> (h, c)."""
    return _cell(engine, _lstm_gates, input, tuple(hx), w_ih, w_hh, b_ih, b_hh)


def gru_cell(engine: Engine, input: torch.Tensor, hx: torch.Tensor, w_ih: torch.Tensor, w_hh: torch.Tensor,
             b_ih: torch.Tensor | None = None, b_hh: torch.Tensor | None = None) -> torch.Tensor:
    """One step of a GRU."""
    return _cell(engine, _gru_gates, input, (hx,), w_ih, w_hh, b_ih, b_hh)[0]


def rnn_tanh_cell(engine: Engine, input: torch.Tensor, hx: torch.Tensor, w_ih: torch.Tensor, w_hh: torch.Tensor,
                  b_ih: torch.Tensor | None = None, b_hh: torch.Tensor | None = None) -> torch.Tensor:
    """One step of an RNN."""
    return _cell(engine, _tanh_gates, input, (hx,), w_ih, w_hh, b_ih, b_hh)[0]


def rnn_relu_cell(engine: Engine, input: torch.Tensor, hx: torch.Tensor, w_ih: torch.Tensor, w_hh: torch.Tensor,
                  b_ih: torch.Tensor | None = None, b_hh: torch.Tensor | None = None) -> torch.Tensor:
    """One step of an RNN with ReLU."""
    return _cell(engine, _relu_gates, input, (hx,), w_ih, w_hh, b_ih, b_hh)[0]
