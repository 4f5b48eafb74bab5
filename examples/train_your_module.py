"""Train a module of your own under the in-memory arithmetic: `python examples/train_your_module.py`.

Any `torch.nn.Module` will do: its linear and convolution layers move onto the arrays, the rest stays torch's.
"""

from __future__ import annotations

import torch
from torch import nn

from system.numerics.arithmetic import Arithmetic
from system.train import Recorder, convert

STEPS = 20


def main() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 2))
    recorder = Recorder(every=1)
    convert(model, Arithmetic(), recorder)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    x = torch.randn(64, 16)
    y = (x[:, 0] > 0).long()
    for step in range(STEPS):
        optimiser.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        optimiser.step()
        if step % 5 == 0 or step == STEPS - 1:
            print(f"step {step:2}: loss {loss.item():.4f}")
    for name, seen in recorder.summary().items():
        print(name, {what: round(value, 3) for what, value in seen.items()})


if __name__ == "__main__":
    main()
