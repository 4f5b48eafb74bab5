"""A user's own kit: `pdk.toml` beside (or pointing to) the foundry's files, checked field by field.

docs/pdk.md describes every field with an example; `himc init pdk` writes one.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from charlib import netlist
from charlib.errors import BadInput
from charlib.paths import is_file
from charlib.pdk.catalog import KITS
from charlib.pdk.library import Source
from charlib.pdk.mismatch import Mismatch, NativeMismatch, Pelgrom
from charlib.pdk.model import ROOM_C, Corner, Device, Geometry, Pdk, derived_text
from charlib.pdk.own_cell import CellFile
from charlib.units import MICRO, PICO
from charlib.yaml_file import shown

WRAPPERS = ("nmos", "pmos", "nmos_pg", "nmos_pd", "pmos_pu")
COMPATS = ("", "hs", "hsa", "ps", "spe")
_NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,99}")
_LEAST_V, _MOST_V = 0.01, 20.0
#: field -> least, most, unit: wide, to catch micrometres or nanometres given for metres. Shipped kits: wires of
#: 0.9e6 to 28e6 Ω/m, 60 to 350 ps, A_VT of 0.57 to 1.6 mV·µm
_SPANS = {
    "lmin_m": (1e-9, 2e-5, "m"), "wmin_m": (1e-9, 1e-4, "m"), "diffusion_m": (1e-9, 1e-4, "m"),
    "bitcell_width_m": (1e-8, 1e-3, "m"), "bitcell_height_m": (1e-8, 1e-3, "m"), "cell_pitch_m": (1e-8, 1e-3, "m"),
    "wire_f_per_m": (1e-12, 1e-8, "F/m"), "wire_ohm_per_m": (1e4, 1e9, "Ω/m"), "unit_ps": (1.0, 2e4, "ps"),
    "w_m": (1e-9, 1e-3, "m"), "l_m": (1e-9, 1e-3, "m"), "vth_shift_v": (-1.0, 1.0, "V"),
    "scale": (1e-9, 1.0, "m"), "avt_nmos_mv_um": (0.05, 50.0, "mV·µm"), "avt_pmos_mv_um": (0.05, 50.0, "mV·µm"),
}
#: what the SRAM's wrappers are made of where a kit has no devices of their own for it
_LIKE = {"nmos_pg": "nmos", "nmos_pd": "nmos", "pmos_pu": "pmos"}


class _Table:
    """A TOML table that knows its path and which of its fields were read."""

    def __init__(self, values: object, path: str, where: str) -> None:
        self.where, self.path = where, path
        if not isinstance(values, dict):
            raise self.fault("", values, "a table")
        self._values: dict[str, Any] = values
        self._read: set[str] = set()

    def fault(self, field: str, value: object, allowed: str) -> BadInput:
        name = ".".join(part for part in (self.path, field) if part) or "the file"
        return BadInput(f"{self.where}: {name}: {allowed} is needed, got {shown(value)}")

    def take(self, field: str, kind: Callable[[Any], Any], allowed: str, default: Any = ...) -> Any:
        """The field, converted; `default` where it is absent, BadInput where it is needed or of another kind."""
        self._read.add(field)
        if field not in self._values:
            if default is ...:
                raise BadInput(f"{self.where}: {'.'.join(p for p in (self.path, field) if p)} is missing; {allowed}")
            return default
        try:
            return kind(self._values[field])
        except (TypeError, ValueError, KeyError, IndexError, OverflowError) as error:
            raise self.fault(field, self._values[field], allowed) from error

    def table(self, field: str, needed: bool = False) -> _Table:
        self._read.add(field)
        if needed and field not in self._values:
            raise BadInput(f"{self.where}: [{field}] is missing")
        return _Table(self._values.get(field, {}), ".".join(p for p in (self.path, field) if p), self.where)

    def tables(self) -> Mapping[str, _Table]:
        """Every field as a table."""
        return {field: self.table(field) for field in self._values}

    def close(self) -> None:
        """BadInput for a field that nothing read."""
        unknown = [field for field in self._values if field not in self._read]
        if unknown:
            known = ", ".join(sorted(self._read))
            raise BadInput(f"{self.where}: {'.'.join(p for p in (self.path, unknown[0]) if p)} is unknown; "
                           f"known are {known}")


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError
    return float(value)


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise TypeError
    return value


def _pair(value: object) -> tuple[float, float]:
    if not isinstance(value, list) or len(value) != 2:
        raise TypeError
    return _number(value[0]), _number(value[1])


def _texts(value: object) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise TypeError
    return tuple(_text(item) for item in value)


def _text_map(value: object) -> dict[str, str]:
    if not isinstance(value, dict):
        raise TypeError
    return {_text(key): _text(item) for key, item in value.items()}


def _sources(value: object) -> tuple[Source, ...]:
    if not isinstance(value, list) or not value or any(set(item) - {"file", "section"} for item in value):
        raise TypeError
    return tuple(Source(_text(item["file"]), _text(item.get("section", ""))) for item in value)


def _one_of(*allowed: str) -> Callable[[object], str]:
    def check(value: object) -> str:
        if value not in allowed:
            raise ValueError
        return _text(value)
    return check


def read_toml(path: Path, where: str) -> dict[str, Any]:
    """The fields of a TOML file. BadInput, which begins with `where`, for one that cannot be read."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"{where}: cannot be read ({getattr(error, 'strerror', None) or error})") from error
    except ValueError as error:  # its own errors, and a whole number of more digits than Python takes
        raise BadInput(f"{where}: not TOML ({error})") from error
    except RecursionError as error:
        raise BadInput(f"{where}: not TOML that can be read (its values are nested too deep)") from error


def read_user_kit(path: Path, *, reveal: bool = False) -> Pdk:
    """The kit that a pdk.toml describes. BadInput naming the field, its value and what is allowed.

    reveal: errors of a confidential kit may quote its cards, for its owner at the terminal.
    """
    where = f"pdk {path}"
    top = _Table(read_toml(path, where), "", where)
    supply, temperature = top.table("supply", needed=True), top.table("temperature")
    nominal_v = supply.take("nominal_v", _number, "volts, e.g. nominal_v = 0.9")
    root = path.parent / top.take("root", _text, "a folder", ".")
    kit = Pdk(
        name=top.take("name", _text, "a text, e.g. name = \"mykit\""),
        version=top.take("version", _text, "a text", "unversioned"),
        licence=top.take("licence", _text, "a text", "not stated"),
        root=root,
        corners=_corners(top.table("corners", needed=True)),
        devices=_devices(top.table("devices", needed=True)),
        nominal_vdd_v=nominal_v,
        vdd_range_v=supply.take("range_v", _pair, "[lowest, highest] in volts", (0.5 * nominal_v, 1.1 * nominal_v)),
        temp_range_c=temperature.take("range_c", _pair, "[lowest, highest] in °C", (-40.0, 125.0)),
        geometry=_geometry(top.table("geometry", needed=True)),
        prune=top.take("prune", _flag, "true or false", True),
        scale=top.take("scale", _number, "the cards' unit of length in metres: 1.0 or 1e-6", 1.0),
        unit_s=top.take("unit_ps", _number, "picoseconds", 60.0) * PICO,
        options=top.take("options", _text_map, "option = \"value\" lines", {}),
        compat=top.take("compat", _one_of(*COMPATS), f"one of {', '.join(c or repr('') for c in COMPATS)}", ""),
        cells=_cells(top.table("cells")),
        allow=tuple((path.parent / folder) for folder in top.take("allow", _texts, "a list of folders", ())),
        accepted_warnings=top.take("accepted_warnings", _text_map, "\"text of a warning\" = \"why\" lines", {}),
        mismatch=_mismatch(top.table("mismatch")),
        confidential=top.take("confidential", _flag, "true or false", False),
        reveal=reveal,
        home=path.parent,
    )
    for table in (supply, temperature, top):
        table.close()
    _plausible(kit, where)
    kit.check_cells()
    return kit


def _plausible(kit: Pdk, where: str) -> None:
    """BadInput for values of another unit, ranges that hold nothing, and cards that are not there."""
    if not _NAME.fullmatch(kit.name):
        raise BadInput(f"{where}: name: letters, digits, '_', '-' and '.' are allowed, got {kit.name!r}")
    if kit.name.lower() in KITS:
        raise BadInput(f"{where}: name: '{kit.name}' is a kit of the catalogue, for whose tables yours would be "
                       f"taken; give it a name of its own, e.g. name = \"my_{kit.name}\"")
    low, high = kit.vdd_range_v
    if not _LEAST_V <= low <= kit.nominal_vdd_v <= high <= _MOST_V:
        raise BadInput(f"{where}: supply: {_LEAST_V:g} <= range_v[0] <= nominal_v <= range_v[1] <= {_MOST_V:g} V is "
                       f"needed, got nominal_v = {kit.nominal_vdd_v:g} in [{low:g}, {high:g}]")
    cold, hot = kit.temp_range_c
    if not -273.15 < cold <= ROOM_C <= hot < 500:
        raise BadInput(f"{where}: temperature.range_c: [lowest, highest] in °C around {ROOM_C:g} is needed, got "
                       f"[{cold:g}, {hot:g}]")
    values = {f"geometry.{name}": getattr(kit.geometry, name) for name in _SPANS if hasattr(kit.geometry, name)}
    avt_v_m = kit.mismatch.avt_v_m if isinstance(kit.mismatch, Pelgrom) else {}
    values |= {f"mismatch.avt_{name}_mv_um": value / (1e-3 * MICRO) for name, value in avt_v_m.items()}
    values |= {f"devices.{name}.unit.{size}_m": value for name, device in kit.devices.items() if device.unit
               for size, value in zip("wl", device.unit, strict=False)}
    values |= {f"corners.{name}.vth_shift_v": shift for name, made in kit.corners.items()
               for shift in sorted(made.vth_shift_v, key=abs)[-1:]}
    for name, value in {**values, "unit_ps": kit.unit_s / PICO, "scale": kit.scale}.items():
        least, most, unit = _SPANS[name.rpartition(".")[2]]
        if not least <= value <= most:
            micro = f"; 1 Ω/µm is {1 / MICRO:g} Ω/m" if unit == "Ω/m" else ""
            raise BadInput(f"{where}: {name}: {least:g} to {most:g} {unit} is allowed, got {value:g}{micro}")
    for corner, made in kit.corners.items():
        for source in made.sources:
            if not is_file(kit.root / source.file):
                raise BadInput(f"{where}: corners.{corner}.sources: '{source.file}' is not in {kit.root}; give its "
                               "place from root")
            if source.section and not kit.prune:
                raise BadInput(f"{where}: prune: true is needed for section '{source.section}' of '{source.file}' in "
                               f"corners.{corner}; false hands on whole files, where ngspice takes no sections")
    for name, cell in kit.cells.items():
        if not is_file(kit.cell_path(cell)):
            raise BadInput(f"{where}: cells.{name}.file: '{cell.file}' is neither in {kit.home} nor in {kit.root}; "
                           "give its place from the folder of pdk.toml")


def _corners(table: _Table) -> dict[str, Corner]:
    corners = {}
    for name, entry in table.tables().items():
        corners[name] = Corner(
            entry.take("sources", _sources, "a list of {file = \"…\", section = \"…\"}"),
            derived_text(entry.take("derived", _text, "a text", "")),
            entry.take("vth_shift_v", _pair, "[nMOS, pMOS] in volts", (0.0, 0.0)))
        entry.close()
    if not corners:
        raise BadInput(f"{table.where}: [corners] is empty; give at least [corners.tt]")
    return corners


def _devices(table: _Table) -> dict[str, Device]:
    entries = table.tables()
    unknown = [name for name in entries if name not in WRAPPERS]
    if unknown:
        raise BadInput(f"{table.where}: devices.{unknown[0]} is unknown; known are {', '.join(WRAPPERS)}")
    found: dict[str, Device] = {}
    for name, entry in entries.items():
        unit = entry.table("unit")
        size = (unit.take("w_m", _number, "metres", 0.0), unit.take("l_m", _number, "metres", 0.0),
                unit.take("wmin_multiple", _number, "a number", 1.0))
        unit.close()
        found[name] = Device(
            entry.take("model", _text, "the device's name in the cards"),
            entry.take("wrapped", _flag, "true where it is a subcircuit", False),
            size if size[0] else None,
            entry.take("extra", _text_map, "parameter = \"expression\" lines, e.g. {nf = \"1\"}", {}))
        entry.close()
    for name in ("nmos", "pmos"):
        if name not in found:
            raise BadInput(f"{table.where}: [devices.{name}] is missing")
    return {name: found.get(name) or found[_LIKE[name]] for name in WRAPPERS}


def _geometry(table: _Table) -> Geometry:
    wanted = ("lmin_m", "wmin_m", "diffusion_m", "bitcell_width_m", "bitcell_height_m", "cell_pitch_m",
              "wire_f_per_m", "wire_ohm_per_m")
    values = {name: table.take(name, _number, "an SI number") for name in wanted}
    sources = table.take("sources", _text_map, "field = \"source\" lines", {})
    table.close()
    return Geometry(**values, sources=sources)


def _cells(table: _Table) -> dict[str, CellFile]:
    cells = {}
    for name, entry in table.tables().items():
        if name not in netlist.names():
            raise BadInput(f"{table.where}: cells.{name} is unknown; known are {', '.join(netlist.names())}; an SRAM "
                           "cell of any kind, an 8T too, stands for ours as [cells.sram_6t]")
        cells[name] = CellFile(entry.take("file", _text, "a netlist"), entry.take("subckt", _text, "a name"),
                               entry.take("ports", _texts, "a list: what each port of it is joined to"),
                               entry.take("inside", _text_map, "our net = \"yours\" lines", {}),
                               entry.take("joined", _text_map, "\"your net\" = \"ours\" lines", {}))
        entry.close()
    return cells


def _mismatch(table: _Table) -> Mismatch | None:
    native = table.take("native", _flag, "true where the cards carry AGAUSS terms", False)
    source = table.take("source", _text, "where the figures come from", "")
    avt = {name: table.take(f"avt_{name}_mv_um", _number, "mV·µm", None) for name in ("nmos", "pmos")}
    table.close()
    if native:
        return NativeMismatch(source or "the kit's own AGAUSS terms")
    if avt["nmos"] is None or avt["pmos"] is None:
        return None
    return Pelgrom({name: value * 1e-3 * MICRO for name, value in avt.items()}, source or "pdk.toml")
