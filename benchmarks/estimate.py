"""How fast an estimate and an exploration are, beside ZigZag; and the same traffic counted by both.

cold_s: a whole process `himc estimate mobilenet_v1`, imports and tables included. warm_ms: one evaluation in a
process that has made others. designs_per_s: a grid of designs, enumerated by one core, tables and mapping included.
Medians. ZigZag (zigzag-dse from PyPI, in an environment of its own in the cache, made on the first run) maps the
forward pass of the same network onto the digital in-memory accelerator that comes with it; its single run is long.

Three layers are counted by both in one mapping: 32 inputs unrolled over the array, outputs innermost, weights
resident, partial sums in a register file of 64. Compared are elements written into the array's input registers,
weights written into cells, outputs that leave for the buffer, and sums over lanes made.

Run: python benchmarks/estimate.py [--no-zigzag]. The last line is one JSON object; zigzag_s is null where it cannot
be installed.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.peers_tools import environment
from charlib.errors import HimcError
from system.design import evaluate, make_reader
from system.explore.run import enumerate_space
from system.explore.space import Space
from system.mapping import map_network
from system.networks import build_network
from system.options import EstimateOptions
from system.structure import macro_structure
from system.workload import MacLayer, Network

ZIGZAG = ("zigzag-dse==3.9.1", "six==1.17.0")
RUNS, EVALUATIONS, ZIGZAG_TIMEOUT_S = 5, 30, 1800.0
ENTRY = Path(__file__).with_name("estimate_zigzag_entry.py")
IMAGE_PX = 224
#: a grid in which everything varies that the tables allow
GRID = Space(EstimateOptions(node_nm=45), {
    "words_per_row": (2, 4), "compartments": (16, 32, 64), "serial_bits": (1, 2), "batch": (1, 8, 64),
    "macros": tuple(2000 + 200 * k for k in range(200)), "vdd_v": tuple(0.8 + 0.01 * k for k in range(21)),
    "read_policy": ("hold", "reread")})
#: name, inputs, outputs, kernel, output edge
LAYERS = (("pointwise", 32, 64, 1, 8), ("two tiles of inputs", 64, 32, 1, 8), ("3 x 3", 3, 64, 3, 8))


def cold_s() -> float:
    """A process from nothing to its JSON."""
    himc = [str(Path(sys.executable).parent / "himc"), "estimate", "mobilenet_v1", "--json", "-"]
    found = []
    for _ in range(RUNS):
        begin = time.perf_counter()
        subprocess.run(himc, check=True, stdout=subprocess.DEVNULL)
        found.append(time.perf_counter() - begin)
    return median(found)


def warm_ms() -> float:
    """An evaluation whose options no earlier one had."""
    options = EstimateOptions()
    reader = make_reader(options)
    found = []
    for k in range(EVALUATIONS + 1):
        begin = time.perf_counter()
        evaluate(replace(options, macros=str(9000 + k)), reader)
        found.append(1e3 * (time.perf_counter() - begin))
    return median(found[1:])


def designs_per_s() -> float:
    """Designs of GRID a second."""
    return median(GRID.size / enumerate_space(GRID, make_reader(GRID.fixed)).seconds for _ in range(3))


def ours() -> dict[str, dict[str, int]]:
    """Traffic of LAYERS by the mapper, in elements, forward and one sample."""
    structure = macro_structure("fan2023")
    found = {}
    for name, inputs, outputs, kernel, edge in LAYERS:
        layer = MacLayer("layer", "conv", inputs, outputs, kernel, 1, edge)
        network = Network(name, edge, 1.0, 2, (layer,))
        rows = map_network(network, structure, 1, "resident", lambda counts: 1.0).rows
        counts = next(row.counts for row in rows if row.pass_name == "forward")
        written = edge * edge * outputs
        found[name] = {"inputs": counts["buffer_bit"] // 16 - written, "weights": layer.weights, "outputs": written,
                       "sums": counts["tree_add"]}
    return found


def zigzag(python: Path, request: dict[str, Any]) -> Any:
    """What the entry answers. HimcError with its last line where it fails."""
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run([str(python), str(ENTRY)], input=json.dumps(request), capture_output=True, text=True,
                              cwd=folder, timeout=ZIGZAG_TIMEOUT_S, check=False)
    if done.returncode:
        raise HimcError(f"ZigZag: {(done.stderr.strip().splitlines() or ['no output'])[-1][-200:]}")
    return json.loads(done.stdout.splitlines()[-1])


def layers_of(network: Network) -> list[dict[str, Any]]:
    """A network's products as ZigZag's entry takes them."""
    found = []
    for layer in network.mac_layers:
        depthwise, kernel = layer.kind == "depthwise", layer.taps if layer.kind == "depthwise" else 0
        edge = round(layer.positions**0.5)
        side = round((kernel or layer.patch // layer.in_channels) ** 0.5)
        found.append({"groups": layer.out_channels if depthwise else 1, "outputs": 1 if depthwise else
                      layer.out_channels, "inputs": 1 if depthwise else layer.in_channels, "kernel": side,
                      "edge": edge, "stride": layer.stride if isinstance(layer.stride, int) else layer.stride[0]})
    return found


def main(arguments: list[str]) -> None:
    """Measure, print, end with the JSON line."""
    result: dict[str, Any] = {"cold_s": cold_s(), "warm_ms": warm_ms(), "designs_per_s": designs_per_s(),
                              "designs": GRID.size, "zigzag_s": None, "zigzag_ratio": None, "traffic_equal": None}
    print(f"himc estimate mobilenet_v1: {result['cold_s']:.2f} s cold, {result['warm_ms']:.1f} ms warm; "
          f"{result['designs_per_s']:,.0f} designs a second over {GRID.size:,}", flush=True)
    if "--no-zigzag" not in arguments:
        try:
            python = environment(ZIGZAG) / "bin" / "python"
            theirs = zigzag(python, {"traffic": [dict(zip(("inputs", "outputs", "kernel", "edge"), row[1:],
                                                          strict=True)) for row in LAYERS]})
            mine = ours()
            print(f"{'layer':<22}{'elements':<12}{'ours':>10}{'ZigZag':>10}")
            for (name, counts), other in zip(mine.items(), theirs, strict=True):
                for what, count in counts.items():
                    print(f"{name:<22}{what:<12}{count:>10}{other[what]:>10}")
            result["traffic_equal"] = list(mine.values()) == theirs
            network = layers_of(build_network("mobilenet_v1", IMAGE_PX))
            result["zigzag_s"] = zigzag(python, {"network": network})["seconds"]
            result["zigzag_ratio"] = result["zigzag_s"] / result["cold_s"]
            print(f"ZigZag, forward pass of one image: {result['zigzag_s']:.1f} s, {result['zigzag_ratio']:.0f} "
                  "times a cold estimate of the whole training step")
        except (HimcError, subprocess.TimeoutExpired) as error:
            print(error)
    print(json.dumps(result))


if __name__ == "__main__":
    main(sys.argv[1:])
