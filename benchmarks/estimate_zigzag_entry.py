"""ZigZag on layers from standard input; run by the interpreter of ZigZag's own virtual environment.

A request {"traffic": [layer, ...]} is answered by the accesses of each layer on an array of one macro's shape in a
given loop order, {"network": [layer, ...]} by the seconds that ZigZag takes for all of them on its own accelerator.
The answer is one line of JSON.
"""

import json
import logging
import sys
import time
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import onnx  # type: ignore[import-not-found, unused-ignore]
import yaml
from onnx import TensorProto, helper, numpy_helper  # type: ignore[import-not-found, unused-ignore]
from zigzag.api import get_hardware_performance_zigzag  # type: ignore[import-not-found, unused-ignore]

BIT, LANES, WORDS, SUM_BIT = 16, 32, 64, 32
LARGE = 1 << 40


def memory(size: int, operands: dict[str, list[str]], served: list[str], width: int) -> dict[str, Any]:
    """A memory; operands: port name -> its allocations. Each access moves one element."""
    kinds = {"r": "read", "w": "write", "rw": "read_write"}
    ports = [{"name": f"{name.rstrip('0123456789')}_port_{k}", "type": kinds[name.rstrip("0123456789")],
              "bandwidth_min": width, "bandwidth_max": width, "allocation": allocation}
             for k, (name, allocation) in enumerate(operands.items(), start=1)]
    held = sorted({text.split(",")[0] for allocation in operands.values() for text in allocation})
    return {"size": size, "r_cost": 1, "w_cost": 1, "area": 0, "latency": 0, "operands": held, "ports": ports,
            "served_dimensions": served}


def macro() -> dict[str, Any]:
    """Lanes with their words and input registers, a register file of sums, a buffer, DRAM."""
    both = ["D1", "D2"]
    return {"name": "macro", "memories": {
        "cells": memory(BIT * WORDS, {"rw": ["I2, fh", "I2, tl"]}, [], BIT),
        "inputs": memory(BIT, {"r": ["I1, tl"], "w": ["I1, fh"]}, ["D1"], BIT),
        "sums": memory(SUM_BIT * WORDS, {"r1": ["O, tl"], "r2": ["O, th"], "w1": ["O, fh"], "w2": ["O, fl"]}, ["D2"],
                       SUM_BIT),
        "buffer": memory(LARGE, {"r": ["I1, tl", "O, tl", "O, th"], "w": ["I1, fh", "O, fh", "O, fl"]}, both, BIT),
        "dram": memory(LARGE, {"rw": [f"{o}, {way}" for o in ("I1", "I2") for way in ("fh", "tl")]
                               + [f"O, {way}" for way in ("fh", "tl", "fl", "th")]}, both, BIT)},
        "operational_array": {"unit_energy": 1, "unit_area": 1, "dimensions": both, "sizes": [1, LANES]}}


def node(number: int, layer: dict[str, Any], name: str = "Conv") -> dict[str, Any]:
    """A layer as ZigZag's workload has it. Sums keep their width until they leave the register file."""
    s = layer.get("stride", 1)
    return {"id": number, "name": f"layer{number}", "operator_type": name,
            "equation": "O[b][k][oy][ox]+=W[k][c][fy][fx]*I[b][c][iy][ix]",
            "dimension_relations": [f"ix={s}*ox+1*fx", f"iy={s}*oy+1*fy"],
            "loop_dims": ["B", "K", "C", "OY", "OX", "FY", "FX"],
            "loop_sizes": [1, layer["outputs"], layer["inputs"], layer["edge"], layer["edge"],
                           layer["kernel"], layer["kernel"]],
            "operand_precision": {"W": BIT, "I": BIT, "O": SUM_BIT, "O_final": BIT},
            "operand_source": {"I": number}}


def mapping(layer: dict[str, Any]) -> list[dict[str, Any]]:
    """Inputs on the lanes, then outputs, then the next tile of inputs, then positions."""
    kernel, edge = layer["kernel"], layer["edge"]
    tiles = max(1, layer["inputs"] * kernel * kernel // LANES)
    lanes = [f"C, {layer['inputs'] // tiles}"] + ([f"FX, {kernel}", f"FY, {kernel}"] if kernel > 1 else [])
    order = [["K", layer["outputs"]], ["C", tiles], ["OX", edge], ["OY", edge]]
    return [{"name": "default", "memory_operand_links": {"O": "O", "W": "I2", "I": "I1"},
             "spatial_mapping": {"D1": ["K, 1"], "D2": lanes},
             "temporal_ordering": [loop for loop in order if loop[1] > 1]}]


def model(layers: list[dict[str, Any]]) -> Any:
    """A chain of convolutions as ONNX; the mean over positions is taken where the edge falls to 1."""
    edge, channels = layers[0]["edge"] * layers[0]["stride"], layers[0]["inputs"] * layers[0]["groups"]
    image = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, channels, edge, edge])
    nodes, weights, last = [], [], "x"
    for k, layer in enumerate(layers):
        if edge > 1 and layer["edge"] == 1:
            nodes.append(helper.make_node("GlobalAveragePool", [last], [f"mean{k}"], name=f"mean{k}"))
            last = f"mean{k}"
        side, groups = layer["kernel"], layer["groups"]
        shape = (layer["outputs"] * groups, layer["inputs"], side, side)
        weights.append(numpy_helper.from_array(np.zeros(shape, np.float32), f"w{k}"))
        nodes.append(helper.make_node("Conv", [last, f"w{k}"], [f"y{k}"], name=f"conv{k}", group=groups,
                                      kernel_shape=[side, side], strides=[layer["stride"]] * 2,
                                      pads=[(side - 1) // 2] * 4))
        edge, channels, last = layer["edge"], layer["outputs"] * groups, f"y{k}"
    out = helper.make_tensor_value_info(last, TensorProto.FLOAT, [1, channels, edge, edge])
    graph = helper.make_graph(nodes, "network", [image], [out], weights)
    return onnx.shape_inference.infer_shapes(helper.make_model(graph))


def run(workload: Any, accelerator: str, mapped: str, **options: Any) -> Any:
    """ZigZag's answer, without its log."""
    logging.disable(logging.CRITICAL)
    return get_hardware_performance_zigzag(workload, accelerator, mapped, dump_folder="out",
                                           loma_show_progress_bar=False, **options)


def traffic(layer: dict[str, Any]) -> dict[str, int]:
    """Elements by kind of traffic."""
    Path("accelerator.yaml").write_text(yaml.safe_dump(macro(), sort_keys=False))
    Path("mapping.yaml").write_text(yaml.safe_dump(mapping(layer), sort_keys=False))
    answer = run([node(0, layer)], "accelerator.yaml", "mapping.yaml", opt="energy")
    access = {str(name): levels for name, levels in answer[-1][0][0].memory_word_access.items()}

    def count(operand: str, level: int, way: str) -> int:
        return int(next(n for direction, n in access[operand][level].data.items() if direction.name == way))

    return {"inputs": count("I", 0, "WR_IN_BY_HIGH"), "weights": count("W", 0, "WR_IN_BY_HIGH"),
            "outputs": count("O", 1, "WR_IN_BY_LOW"), "sums": count("O", 0, "WR_IN_BY_LOW")}


if __name__ == "__main__":
    request = json.load(sys.stdin)
    begin = time.perf_counter()
    if "traffic" in request:
        found: Any = [traffic(layer) for layer in request["traffic"]]
    else:
        own = resources.files("zigzag") / "inputs"
        run(model(request["network"]), str(own / "hardware" / "dimc.yaml"),
            str(own / "mapping" / "default_imc.yaml"), in_memory_compute=True)
        found = {"seconds": time.perf_counter() - begin}
    print(json.dumps(found))
