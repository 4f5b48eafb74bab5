"""Large models on many chips, on paper: docs/scale.md. Run: python tools/scale.py"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from charlib.units import format_si
from system.design import evaluate, filling, make_reader
from system.estimate import estimate
from system.options import EstimateOptions

PAGE = Path(__file__).resolve().parents[1] / "docs" / "scale.md"
DIE_MM2, CHIPS = 750.0, 256
#: name -> (what a sample is, options)
CASES = {
    "ResNet-50, ImageNet size": ("an image", {"network": "resnet50", "image_px": 224, "batch": 32}),
    "GPT-2, 1024 tokens": ("a sequence", {"network": "gpt2", "image_px": 1024, "batch": 4}),
}


def options_of(case: dict[str, Any]) -> EstimateOptions:
    """The largest number of macros that a die of DIE_MM2 takes beside the buffer, weights written for each pass."""
    alone = EstimateOptions(**case, macros="resident")
    design = evaluate(alone, make_reader(alone))
    macros = filling(DIE_MM2, alone, design.area.total_m2)
    return EstimateOptions(**case, macros=f"time_multiplexed:{macros}", chips=CHIPS)


def resident_mm2(case: dict[str, Any]) -> float:
    """Area of macros that hold every weight once."""
    options = EstimateOptions(**case, macros="resident")
    design = evaluate(options, make_reader(options))
    return design.area.total_m2 * design.mapping.weight_macros * 1e6


def section(name: str, sample: str, case: dict[str, Any]) -> list[str]:
    """A case's paragraph and table."""
    document = estimate(options_of(case))
    n, chip, times = document["network"], document["chip"], document["imc"]["system"]["breakdown"]["time_s"]
    units = document["imc"]["system"]["breakdown"]["unit_time_s"]
    alone = {"arrays": units["array_s"], "vector unit": units["vector_s"], "DRAM": units["dram_s"]}
    pace = max(alone, key=lambda unit: float(alone[unit]))
    low, high = document["imc"]["system"]["energy_j_per_image_range"]
    return [
        f"## {name}", "",
        f"{n['parameters'] / 1e6:.1f} M parameters, {n['macs_training'] / 1e9:.1f} G MAC {sample} in training. One "
        f"copy of the weights would take {resident_mm2(case):,.0f} mm² of macros, so a chip of {DIE_MM2:g} mm² "
        f"({chip['macros']} macros) writes them anew for every layer and pass. {sample.capitalize()} costs "
        f"{format_si(document['imc']['system']['energy_j_per_image'], 'J')} at the system's boundary "
        f"({format_si(low, 'J')} to {format_si(high, 'J')} over the scenarios); alone the "
        + ", the ".join(f"{unit} would take {format_si(value, 's')}" for unit, value in alone.items())
        + f", and {format_si(times['overlapped_s'], 's')} of that run beside something slower; the {pace} "
        f"{'set' if pace.endswith('s') else 'sets'} the pace.", "",
        f"| chips | batch | energy {sample} | time {sample} | with the all-reduce hidden | all-reduce a step | links "
        f"{sample} | mean power |",
        "|---:|---:|---:|---:|---:|---:|---:|---:|",
        *(f"| {row['chips']} | {row['batch']} | {format_si(row['energy_j_per_image'], 'J')} | "
          f"{format_si(row['time_s_per_image'], 's')} | {format_si(row['time_s_per_image_range'][0], 's')} | "
          f"{format_si(row['all_reduce_s_per_step'], 's')} | {format_si(row['link_energy_j_per_image'], 'J')} | "
          f"{format_si(row['power_w'], 'W')} |" for row in document["scale"]), ""]


def texts() -> dict[Path, str]:
    """The page, computed again."""
    usual = EstimateOptions()
    lines = ["# Large models on many chips", "",
             f"Made by `python tools/scale.py`: on paper, at {usual.node_nm} nm and {usual.vdd_v:g} V, nothing of "
             "this size was run. Data parallel: every chip takes a batch of its own, then a ring all-reduce sums the "
             "gradients in FP32 over "
             f"links of {usual.link_bytes_per_s / 1e9:g} GB/s a chip; the model and what it leaves out "
             "stand in `system/scale.py`. `himc estimate NETWORK --chips N` gives the same for any network.", ""]
    for name, (sample, case) in CASES.items():
        lines += section(name, sample, case)
    lines += ["Weights move for every pass; the vector unit, for batch norm, softmax and the optimiser, is the "
              f"default one ({usual.vector_lanes} lanes, {format_si(usual.vector_clock_hz, 'Hz')}): `--vector-lanes` "
              "and `--vector-clock-hz` change it.", ""]
    return {PAGE: "\n".join(lines)}


def main() -> None:
    """Write the page."""
    for file, text in texts().items():
        file.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
