"""A kit as the pdk.toml that describes it: what `himc init pdk --from` writes to start a kit of one's own."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import fields

from charlib.errors import BadInput
from charlib.pdk.mismatch import NativeMismatch, Pelgrom
from charlib.pdk.model import DERIVED, Corner, Device, Pdk
from charlib.pdk.own_cell import CellFile
from charlib.units import MICRO, PICO

#: how a cell of the user's own is given, as a comment at the end of a new pdk.toml
CELL_EXAMPLE = """
# An SRAM cell of yours in place of ours, an 8T too; file: its place from the folder of this file.
# [cells.sram_6t]
# file = "my_cell.sp"
# subckt = "my_8t"
# ports = ["bl", "blb", "wl", "vdd", "vss", "vdd", "vss"]   # what each of ITS ports is joined to, in its order
# inside = {q = "q", qb = "qb"}                             # its names of the two nets that hold the bit
"""
_AS_NMOS_OR_PMOS = {"nmos_pg": "nmos", "nmos_pd": "nmos", "pmos_pu": "pmos"}


def as_toml(kit: Pdk, name: str) -> str:
    """The file, for :func:`charlib.pdk.user_kit.read_user_kit`. name: the new kit's, whose tables are its own.

    BadInput for a confidential kit, whose cards' place stays where it is.
    """
    if kit.confidential:
        raise BadInput(f"from: '{kit.name}' is confidential; copy its pdk.toml by hand")
    lines = [
        f"# Made from {kit.name} {kit.version}; docs/pdk.md describes every field. The cards stay where they are.",
        "# to change them, put a copy elsewhere and change root.",
        f"name = {_text(name)}", f"version = {_text(kit.version)}", f"licence = {_text(kit.licence)}",
        "confidential = false    # true: only hashes of the cards leave this machine",
        f"root = {_text(str(kit.root.absolute()))}", *_more(kit), "",
        "[supply]", f"nominal_v = {kit.nominal_vdd_v!r}", f"range_v = {_list(kit.vdd_range_v)}", "",
        "[temperature]", f"range_c = {_list(kit.temp_range_c)}", "",
        "# A corner is a list of files, or of sections of sectioned libraries.",
    ]
    for corner, made in kit.corners.items():
        lines += [f"[corners.{corner}]", *_corner(made), ""]
    lines.append("# nmos and pmos are needed; nmos_pg, nmos_pd, pmos_pu the SRAM cell's own, where it has any.")
    for wrapper, device in kit.devices.items():
        if device != kit.devices.get(_AS_NMOS_OR_PMOS.get(wrapper, "")):
            lines += [f"[devices.{wrapper}]", *_device(device), ""]
    if kit.options:
        lines += ["[options]", *_pairs(kit.options), ""]
    geometry = kit.geometry
    lines += ["[geometry]", *(f"{field.name} = {getattr(geometry, field.name):.12g}" for field in fields(geometry)
                              if field.name != "sources"), "", "[geometry.sources]", *_pairs(geometry.sources), ""]
    for cell, file in kit.cells.items():
        lines += [f"[cells.{cell}]", f"file = {_text(_cell_file(kit, file))}", f"subckt = {_text(file.subckt)}",
                  f"ports = {_list(file.ports)}", *([f"inside = {_inline(file.inside)}"] if file.inside else []),
                  *([f"joined = {_inline(file.joined)}"] if file.joined else []), ""]
    if isinstance(kit.mismatch, Pelgrom):
        lines += ["[mismatch]    # A_VT of a pair",
                  *(f"avt_{polarity}_mv_um = {value / (1e-3 * MICRO):.10g}"
                    for polarity, value in kit.mismatch.avt_v_m.items()),
                  f"source = {_text(kit.mismatch.source)}", ""]
    elif isinstance(kit.mismatch, NativeMismatch):
        lines += ["[mismatch]", "native = true", f"source = {_text(kit.mismatch.source)}", ""]
    if kit.accepted_warnings:
        lines += ["[accepted_warnings]    # what ngspice says of the cards and why that is harmless",
                  *_pairs(kit.accepted_warnings), ""]
    return "\n".join(lines).rstrip() + "\n" + ("" if "sram_6t" in kit.cells else CELL_EXAMPLE)


def _cell_file(kit: Pdk, cell: CellFile) -> str:
    """A cell's place as the new file finds it: from root, or whole."""
    place = kit.cell_path(cell)
    return cell.file if place.resolve() == (kit.root / cell.file).resolve() else str(place.absolute())


def _more(kit: Pdk) -> list[str]:
    found = [f"prune = {str(kit.prune).lower()}    # true: give ngspice only the cards that the devices reach",
             f"unit_ps = {kit.unit_s / PICO:.10g}    # a loaded full adder's delay, about: paces the stimuli"]
    if kit.scale != 1.0:
        found.append(f"scale = {kit.scale!r}    # the cards' unit of length in metres")
    if kit.compat:
        found.append(f"compat = {_text(kit.compat)}    # ngspice's ngbehavior")
    beside = any(_cell_file(kit, cell) != cell.file for cell in kit.cells.values())
    allow = [*kit.allow, *([kit.home] if beside and kit.home is not None else [])]
    if allow:
        found.append(f"allow = {_list(str(folder.absolute()) for folder in allow)}")
    return found


def _corner(made: Corner) -> list[str]:
    sources = ", ".join(f"{{file = {_text(s.file)}" + (f", section = {_text(s.section)}" if s.section else "") + "}"
                        for s in made.sources)
    found = [f"sources = [{sources}]"]
    if made.derived:
        found.append(f"derived = {_text(made.derived.removeprefix(DERIVED))}")
    if made.vth_shift_v != (0.0, 0.0):
        found.append(f"vth_shift_v = {_list(made.vth_shift_v)}")
    return found


def _device(device: Device) -> list[str]:
    found = [f"model = {_text(device.model)}", f"wrapped = {str(device.wrapped).lower()}"]
    if device.extra:
        found.append(f"extra = {_inline(device.extra)}")
    if device.unit is not None:
        width_m, length_m, multiple = device.unit
        found.append(f"unit = {{w_m = {width_m!r}, l_m = {length_m!r}, wmin_multiple = {multiple!r}}}")
    return found


def _text(value: str) -> str:
    """A TOML basic string; JSON's escapes are TOML's."""
    return json.dumps(value, ensure_ascii=False)


def _list(values: Iterable[float] | Iterable[str]) -> str:
    return "[" + ", ".join(_text(value) if isinstance(value, str) else repr(value) for value in values) + "]"


def _pairs(values: Mapping[str, str]) -> list[str]:
    return [f"{key if key.isidentifier() else _text(key)} = {_text(value)}" for key, value in values.items()]


def _inline(values: Mapping[str, str]) -> str:
    return "{" + ", ".join(_pairs(values)) + "}"
