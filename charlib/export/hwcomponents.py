"""A Python module of component models for hwcomponents 1.0 (the library behind AccelForge and CiMLoop).

Bitcell, compartment, adder tree and flip-flop, each with what was simulated and nothing else. hwcomponents refuses a
model without area, so a model whose area nobody measured asks for it as an argument. The file needs Python 3.12, as
hwcomponents does; writing it does not.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from importlib import resources

from charlib.advice import characterise_command
from charlib.benches.compartment import LINES, OPERATIONS, POLICIES
from charlib.errors import BadInput
from charlib.export.kit import geometry_source, kit_facts
from charlib.export.point import Reader, Value, number
from charlib.export.text import comments, one_line

#: name of a quantity in the emitted dictionary, or that and what it is read at
Key = str | tuple[str | float, ...]
Costs = Mapping[Key, Value]
Model = Mapping[tuple[int, ...], Costs]

NEEDED = {
    "BITCELL": ("bitcell_energy_j", "bitcell_delay_s", "bitcell_leakage_w"),
    "COMPARTMENT": ("compartment_energy_j", "compartment_delay_s", "compartment_leakage_w"),
    "ADDER_TREE": ("adder_tree_toggle_j", "adder_tree_toggles_per_op"),
    "FLIP_FLOP": ("dff_energy_j", "dff_delay_s", "dff_leakage_w"),
}


def models(reader: Reader, areas_m2: Mapping[str, float]) -> dict[str, Model]:
    """Model -> its structure, such as (rows, columns) -> quantity -> value in SI units.

    areas_m2: cell -> area, as the user gives it. A model whose tables are not there is left out.
    """
    build: Mapping[str, Callable[[], Model]] = {
        "BITCELL": lambda: _bitcell(reader),
        "COMPARTMENT": lambda: _compartment(reader),
        "ADDER_TREE": lambda: _adder_tree(reader, areas_m2),
        "FLIP_FLOP": lambda: _flip_flop(reader, areas_m2),
    }
    return {name: build[name]() for name, tables in NEEDED.items() if not reader.lacks(*tables)}


def to_hwcomponents(reader: Reader, areas_m2: Mapping[str, float]) -> str:
    """The module's text; BadInput where the tables give no model at all."""
    built = models(reader, areas_m2)
    omitted = [f"{name}, {reason}" for name, tables in NEEDED.items() if (reason := reader.lacks(*tables))]
    if not built:
        made = characterise_command(reader.pdk, tables=NEEDED["BITCELL"], **vars(reader.point))
        raise BadInput(f"format: 'hwcomponents' finds no model: {'; '.join(omitted)}; run {made} for "
                       "the first of them")
    import jinja2  # slow to import

    source = resources.files("charlib.export").joinpath("hwcomponents.j2").read_text(encoding="utf-8")
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, keep_trailing_newline=True, autoescape=False)
    return environment.from_string(source).render(
        header=comments("# ", reader.header()), omitted=[one_line(line).replace('"', "'") for line in omitted],
        models=sorted(built),
        data="\n".join(_literal(name, model) for name, model in built.items()),
        default_rows=max(built.get("BITCELL", {(0,): {}}))[0],
        default_shape=max(built.get("COMPARTMENT", {(0, 0): {}})))


def _literal(name: str, model: Model) -> str:
    lines = [f"{name} = {{"]
    for structure, costs in model.items():
        lines.append(f"    {structure!r}: {{")
        for key, value in costs.items():
            lines += comments("        # ", value.notes())
            lines.append(f"        {key!r}: {None if value.value is None else repr(number(value.value))},")
        lines.append("    },")
    return "\n".join([*lines, "}", ""])


def _whole(reader: Reader, table: str, axis: str) -> list[int]:
    return [round(float(point)) for point in reader.axis(table, axis).points]


def _read(reader: Reader, table: str, how: str, **at: float | str | tuple[str, ...]) -> Value:
    reading = reader.read(table, **at)
    return Value(reading.value, reading.unit, how, (reading,))


def _bitcell(reader: Reader) -> Model:
    facts = kit_facts(reader)
    area = (Value(None, "m²", facts.geometry_how) if facts.geometry is None else
            Value(facts.geometry.bitcell_area_m2, "m²",
                  geometry_source(facts.geometry, "bitcell_width_m", "bitcell_height_m")))
    leak = _read(reader, "bitcell_leakage_w", "mean over the stored bit",
                 stored=tuple(map(str, reader.axis("bitcell_leakage_w", "stored").points)))

    def costs(rows: int) -> Costs:
        costs: dict[Key, Value] = {
            f"{name}_j": _read(reader, "bitcell_energy_j", "an access", rows=rows, operation=name)
            for name in ("read", "write_flip", "write_same")}
        for name, operation in (("read_s", "read_full_swing"), ("write_s", "write")):
            costs[name] = _read(reader, "bitcell_delay_s", "from the wordline", rows=rows, operation=operation)
        return {**costs, "leak_power": leak, "area": area}

    return {(rows,): costs(rows) for rows in _whole(reader, "bitcell_energy_j", "rows")}


def _compartment(reader: Reader) -> Model:
    lines = tuple(line for line in LINES if line != "leakage")

    def energy(rows: int, columns: int, operation: str, policy: str) -> Value:
        reading = reader.read("compartment_energy_j", rows=rows, columns=columns, read_policy=policy,
                              operation=operation, stored=("0", "1"), input=("0", "1"), line=lines)
        return Value(reading.value * len(lines), "J",
                     f"sum of {len(lines)} lines ({len(lines)} × their mean), mean over stored and input", (reading,))

    def costs(rows: int, columns: int) -> Costs:
        return {
            **{("compute_j", operation, policy): energy(rows, columns, operation, policy)
               for operation, policy in itertools.product(OPERATIONS, POLICIES)},
            "cycle_s": _read(reader, "compartment_delay_s", "a cycle", rows=rows, columns=columns, phase="cycle"),
            "leak_power": _read(reader, "compartment_leakage_w", "at rest", rows=rows, columns=columns),
            "area": Value(None, "m²", "the compartment has no layout; its area was not measured"),
        }

    shapes = itertools.product(*(_whole(reader, "compartment_energy_j", axis) for axis in ("rows", "columns")))
    return {(rows, columns): costs(rows, columns) for rows, columns in shapes}


def _adder_tree(reader: Reader, areas_m2: Mapping[str, float]) -> Model:
    """Trees that were simulated flat, and larger ones as toggles of the logic model × joules a toggle."""
    toggle = reader.read("adder_tree_toggle_j")
    spread = reader.tables["adder_tree_toggle_j"].conventions.get("held_out", "not stated")
    simulated = "" if reader.lacks("adder_tree_energy_j") else "adder_tree_energy_j"
    tables = [name for name in (simulated, "adder_tree_toggles_per_op") if name]
    model: dict[tuple[int, ...], Costs] = {}
    for table in tables:
        shapes = itertools.product(*(_whole(reader, table, axis) for axis in ("lanes", "bits")))
        for lanes, bits in shapes:
            if (lanes, bits) in model:
                continue
            costs: dict[Key, Value] = {}
            for activity in (float(point) for point in reader.axis(table, "activity").points):
                reading = reader.read(table, lanes=lanes, bits=bits, activity=activity)
                costs["add_j", activity] = (
                    Value(reading.value, "J", "simulated flat", (reading,)) if table == simulated else
                    Value(reading.value * toggle.value, "J",
                          f"toggles × joules a toggle, fitted; held-out trees: {spread}", (reading, toggle)))
            model[lanes, bits] = {**costs, "add_s": _tree_delay(reader, lanes, bits),
                                  **_tree_cells(reader, lanes, bits, areas_m2)}
    return model


def _tree_delay(reader: Reader, lanes: int, bits: int) -> Value:
    missing = reader.lacks("adder_tree_delay_s")
    if not missing and lanes in _whole(reader, "adder_tree_delay_s", "lanes") and bits in _whole(
            reader, "adder_tree_delay_s", "bits"):
        return _read(reader, "adder_tree_delay_s", "input to last output", lanes=lanes, bits=bits)
    return Value(None, "s", missing or f"a tree of {lanes} × {bits} was not simulated flat")


def _tree_cells(reader: Reader, lanes: int, bits: int, areas_m2: Mapping[str, float]) -> dict[Key, Value]:
    """Leakage and area as cell counts × cells."""
    block = f"adder_tree_{lanes}x{bits}"
    missing = reader.lacks("block_cell_count", "cell_leakage_w")
    if not missing and block not in reader.axis("block_cell_count", "block").points:
        missing = f"block_cell_count has no block {block}"
    if missing:
        return {"leak_power": Value(None, "W", missing), "area": Value(None, "m²", missing)}
    cells = [str(cell) for cell in reader.axis("block_cell_count", "cell").points]
    counts = [count for cell in cells if (count := reader.read("block_cell_count", block=block, cell=cell)).value]
    names = [str(count.at["cell"]) for count in counts]
    leaks = [reader.read("cell_leakage_w", cell=cell) for cell in names]
    leak = sum(count.value * each.value for count, each in zip(counts, leaks, strict=True))
    unknown = [cell for cell in names if cell not in areas_m2]
    why = f"the area of {', '.join(unknown)} is not simulated; give --area CELL=UM2"
    area = (Value(None, "m²", why) if unknown else
            Value(sum(count.value * areas_m2[cell] for count, cell in zip(counts, names, strict=True)), "m²",
                  "cell counts × areas given with --area, unplaced", tuple(counts)))
    return {"leak_power": Value(leak, "W", "sum over cells of count × leakage", (*counts, *leaks)), "area": area}


def _flip_flop(reader: Reader, areas_m2: Mapping[str, float]) -> Model:
    setup, clock_to_q = (reader.read("dff_delay_s", metric=metric) for metric in ("setup", "clock_to_q"))
    return {(): {
        "clock_j": _read(reader, "dff_energy_j", "a clock cycle, q quiet, the clock pin left to its driver",
                         event="clock_internal"),
        "data_j": _read(reader, "dff_energy_j", "what a cycle in which q toggles takes more", event="data"),
        "latency_s": Value(max(setup.value, 0.0) + clock_to_q.value, "s",
                           "clock to q, and setup where it is positive", (setup, clock_to_q)),
        "leak_power": _read(reader, "dff_leakage_w", "at rest"),
        "area": Value(areas_m2["dff"], "m²", "given with --area dff") if "dff" in areas_m2 else
                Value(None, "m²", "the area of dff is not simulated; give --area dff=UM2"),
    }}
