"""What the benches need to know of a process: cards per corner, device shim, geometry.

A :class:`Pdk` turns a corner into the header of a deck: the model cards in use, the geometry as ngspice
parameters, and five wrapper subcircuits (`nmos`, `pmos`, and the SRAM's `nmos_pg`, `nmos_pd`,
`pmos_pu`) that give every MOS its diffusion areas and perimeters. Netlists name only
these wrappers, so they carry from one process to the next; a kit may replace whole netlists by its own cells.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any

from charlib import netlist
from charlib.errors import BadInput
from charlib.paths import is_file
from charlib.pdk.cell_cards import Scope, kit_tree, read_cards
from charlib.pdk.cell_text import multiplied_copies
from charlib.pdk.extra import check_extra, check_multiples, check_names
from charlib.pdk.library import Library, Source, Statement, check_statements, plain_number, statements
from charlib.pdk.mismatch import Mismatch, NativeMismatch, Pelgrom, explicit_cards, terms_of
from charlib.pdk.own_cell import CellFile, OwnText, own_text
from charlib.pdk.pruned import pruned_cards
from charlib.pdk.withheld import NotInCards, Withheld, withheld_error
from charlib.screen import decoded
from charlib.screen_rules import judge
from charlib.units import PICO

#: gate capacitance a width of transistor, much the same at every node: Weste and Harris, section 2.3
GATE_F_PER_M = 1e-9


@dataclass(frozen=True)
class Geometry:
    """Lengths in metres and wire constants, each with its source in `sources`."""

    lmin_m: float  #: drawn minimum channel length
    wmin_m: float  #: drawn minimum channel width
    diffusion_m: float  #: source or drain length beyond the gate, contacted
    bitcell_width_m: float  #: 6T pitch along the wordline
    bitcell_height_m: float  #: 6T pitch along the bitline
    cell_pitch_m: float  #: mean width of a standard cell, for the wire between two of them
    wire_f_per_m: float  #: capacitance of an intermediate wire at minimum width
    wire_ohm_per_m: float  #: its resistance
    sources: Mapping[str, str]

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if isinstance(value, float) and not value > 0:
                raise BadInput(f"PDK geometry: {name} must be positive, got {value}")

    @property
    def bitcell_area_m2(self) -> float:
        return self.bitcell_width_m * self.bitcell_height_m

    @property
    def unit_f(self) -> float:
        """About a minimum inverter's gate, at 1 fF per µm of width (Weste and Harris): to scale loads, no result."""
        return 5 * self.wmin_m * GATE_F_PER_M

    @property
    def fan_out_wire_f(self) -> float:
        """Capacitance of the wire to one fan-out: a cell pitch of intermediate wire."""
        return self.wire_f_per_m * self.cell_pitch_m


#: begins the comment that says which `ngbehavior` a deck's cards need
COMPAT_MARK = "* ngspice needs: set ngbehavior="
#: the folder list (as PATH has it) in which a confidential kit is found by name, here and on every worker
KITS_VARIABLE = "HIMC_KITS"
ROOM_C = 25.0


@dataclass(frozen=True)
class Corner:
    """The cards of a corner. derived: how it was made where the kit does not provide it, else "".

    vth_shift_v: added to the threshold's magnitude of nMOS and pMOS devices, where that is how it was made.
    """

    sources: tuple[Source, ...]
    derived: str = ""
    vth_shift_v: tuple[float, float] = (0.0, 0.0)


DERIVED = "derived: "


def derived_text(how: str) -> str:
    """How a corner was made as its tables' origin says it; pdk.toml gives it without the first word."""
    return f"{DERIVED}{how}" if how and not how.startswith(DERIVED) else how


def card_files(*names: str) -> Corner:
    """A corner made of whole card files."""
    return Corner(tuple(Source(name) for name in names))


@dataclass(frozen=True)
class Device:
    """How a wrapper becomes a device of the kit.

    wrapped: the kit's device is a subcircuit, taken with X, else a `.model`, taken with M.
    unit: (w_m, l_m, wmin_multiple) where the kit has this device in one size only: `wmin_multiple`·wmin of our
    netlists stands for one of it, other widths for so many in parallel. extra: further parameters, name ->
    expression.
    """

    model: str
    wrapped: bool = False
    unit: tuple[float, float, float] | None = None
    extra: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Pdk:
    """A process kit whose card files are on this disk.

    corners: corner -> its cards, relative to `root`. devices: wrapper name -> device in those cards.
    prune: give ngspice only the cards that the devices reach. scale: the cards' unit of length in metres
    (`.option scale`). unit_s: a loaded full adder's delay at nominal supply and typical corner, for stimulus timing.
    mismatch: how its devices vary, see :mod:`charlib.pdk.mismatch`; None where unknown.
    confidential: nothing of the card files but hashes leaves this process. reveal: errors may all the same say why,
    to the owner at the terminal.
    """

    name: str
    version: str
    licence: str
    root: Path
    corners: Mapping[str, Corner]
    devices: Mapping[str, Device]
    nominal_vdd_v: float
    vdd_range_v: tuple[float, float]
    temp_range_c: tuple[float, float]
    geometry: Geometry
    prune: bool = False
    scale: float = 1.0
    unit_s: float = 60 * PICO
    options: Mapping[str, str] = field(default_factory=dict)
    compat: str = ""  #: ngspice's `ngbehavior` that the cards need
    cells: Mapping[str, CellFile] = field(default_factory=dict)
    allow: tuple[Path, ...] = ()
    accepted_warnings: Mapping[str, str] = field(default_factory=dict)  #: text in ngspice's log -> why it is harmless
    mismatch: Mismatch | None = None
    step_factors: Mapping[str, int] = field(default_factory=dict)  #: bench kind -> how much finer its step must be
    confidential: bool = False
    reveal: bool = False
    home: Path | None = None  #: folder of the pdk.toml that describes it; None for a kit of the catalogue

    def check(self, corner: str, vdd_v: float, temp_c: float) -> None:
        """BadInput unless the corner exists and the supply and temperature lie in the kit's range."""
        if corner not in self.corners:
            raise BadInput(f"corner: '{corner}' is not in PDK '{self.name}'; it has {', '.join(self.corners)}")
        low, high = self.vdd_range_v
        if not low <= vdd_v <= high:
            raise BadInput(f"vdd_v: {vdd_v:g} V is outside {low:g}..{high:g} V of PDK '{self.name}'")
        low, high = self.temp_range_c
        if not low <= temp_c <= high:
            raise BadInput(f"temp_c: {temp_c:g} °C is outside {low:g}..{high:g} °C of PDK '{self.name}'")

    def library(self, corner: str) -> Library:
        """The corner's cards, resolved; reads the whole library."""
        self.check(corner, self.nominal_vdd_v, ROOM_C)
        with self._withholding(f"corners.{corner}"):
            return Library(self.root, self.corners[corner].sources, self.allow)

    def cards(self, corner: str) -> str:
        """The text of the corner's cards as a deck gets it, ended by a newline.

        Whole card files are joined with a newline: FreePDK45's files lack it, and two cards run together
        corrupt a model without a word from ngspice.
        """
        return self._once(("cards", corner), lambda: self._cards(corner))

    def _cards(self, corner: str) -> str:
        self.check(corner, self.nominal_vdd_v, ROOM_C)
        sources = self.corners[corner].sources
        if not self.prune:
            return "".join(self._read(source.file).rstrip("\n") + "\n" for source in sources)
        names = {device.model for device in self.devices.values()}
        texts = tuple(self._cell_text(cell) for cell in self.cells.values())
        fixed = {device.unit[1] for device in self.devices.values() if device.unit}
        drawn = {factor * self.geometry.lmin_m for factor in netlist.length_multiples()}
        lengths = () if self.cells else tuple(drawn | fixed)
        return pruned_cards(self.root, sources, self.allow, names, texts, lengths, keep=not self.confidential)

    def _once(self, key: tuple[str, ...], make: Callable[[], str]) -> str:
        if key not in self._memory:
            with self._withholding(self._place(key)):
                self._memory[key] = make()
        return self._memory[key]

    def _place(self, key: tuple[str, ...]) -> str:
        """The part of pdk.toml that a kept text comes from, "" where it is more than one."""
        if key[0] == "cell":
            return next(f"cells.{name}" for name, cell in self.cells.items() if cell.file == key[1])
        return f"corners.{key[-1]}" if key[-1] in self.corners and key[0] != "subckts" else ""

    @contextmanager
    def _withholding(self, place: str) -> Iterator[None]:
        """Errors of a confidential kit leave it in the words of its pdk.toml alone. place: the part they are of."""
        try:
            yield
        except BadInput as error:
            if not self.confidential or self.reveal or isinstance(error, Withheld):
                raise
            lacking = error.device if isinstance(error, NotInCards) else ""
            fields = [f"devices.{name}.model" for name, device in self.devices.items()
                      if lacking and device.model.lower() == lacking]
            raise withheld_error(self.name, ", ".join((place, *fields[:1])) if place else "", error) from None

    @cached_property
    def _owns(self) -> dict[str, OwnText]:
        return {}

    @cached_property
    def _memory(self) -> dict[tuple[str, ...], str]:
        return {}

    def __reduce__(self) -> Any:
        """A confidential kit travels to another process as its name, its hash, and the steps its benches need."""
        if not self.confidential:
            return _rebuild, ({f.name: getattr(self, f.name) for f in fields(self)},)
        from charlib.pdk.install import load_confidential
        return load_confidential, (self.name, self.sha256, dict(self.step_factors))

    def _read(self, name: str) -> str:
        path = self.root / name
        try:
            text = decoded(path.read_bytes(), path.name).replace("\r\n", "\n")
        except OSError as error:
            raise BadInput(f"PDK '{self.name}': card file {path} cannot be read ({error.strerror}); "
                           f"run 'himc pdk install {self.name}'") from error
        judge(text, path.name)
        check_statements(statements(text, path))
        return text

    def card_hashes(self, corner: str) -> dict[str, str]:
        """sha256 of the corner's cards as a deck gets them: by file, or of the pruned text."""
        self.check(corner, self.nominal_vdd_v, ROOM_C)
        if self.prune:
            name = "cards" if self.confidential else f"{self.name} {corner}"
            return {name: self._once(("hash of cards", corner), lambda: _sha256(self.cards(corner)))}
        return {source.file: self._hash(source.file) for source in self.corners[corner].sources}

    def _hash(self, file: str) -> str:
        return self._once(("hash", file), lambda: _sha256(self._read(file)))

    @property
    def unit_f(self) -> float:
        """The geometry's."""
        return self.geometry.unit_f

    @property
    def fan_out_wire_f(self) -> float:
        """The geometry's."""
        return self.geometry.fan_out_wire_f

    @property
    def sha256(self) -> str:
        """One hash over all corners' cards; of a kit that a pdk.toml describes, over all that changes a result."""
        return self._once(("sha256",), self._sha256)

    def _sha256(self) -> str:
        digest = hashlib.sha256()
        if self.prune:
            for corner in sorted(self.corners):
                digest.update(corner.encode() + b"\0" + self.cards(corner).encode() + b"\0")
        else:
            for name in sorted({source.file for corner in self.corners.values() for source in corner.sources}):
                digest.update(name.encode() + b"\0" + self._read(name).encode() + b"\0")
        if self.home is not None:
            digest.update(self._description().encode())
        return digest.hexdigest()

    def _description(self) -> str:
        """What a pdk.toml sets, beside the cards, that changes results: one text, the own cells' netlists in it."""
        corners = {name: [[[s.file, s.section] for s in made.sources], made.vth_shift_v]
                   for name, made in self.corners.items()}
        devices = {name: [d.model, d.wrapped, d.unit, dict(d.extra)] for name, d in self.devices.items()}
        cells = {name: [self._cell_text(cell), cell.subckt, cell.ports, dict(cell.inside), dict(cell.joined)]
                 for name, cell in self.cells.items()}
        sizes = {name: value for name, value in vars(self.geometry).items() if name != "sources"}
        varies = dict(self.mismatch.avt_v_m) if isinstance(self.mismatch, Pelgrom) else self.mismatch is not None
        return json.dumps([corners, devices, cells, sizes, varies, self.nominal_vdd_v, self.scale, self.unit_s,
                           dict(self.options), self.compat], sort_keys=True)

    def header(self, corner: str) -> str:
        """The deck header: cards, `.param lmin wmin hdif`, and the device wrappers."""
        return self._once(("header", corner), lambda: self._plain_header(corner) + self._copies(corner))

    def _plain_header(self, corner: str) -> str:
        """The same before own cells are looked at."""
        return self._once(("plain header", corner), lambda: self._header(corner, self.cards(corner)))

    def whole_header(self, corner: str) -> str:
        """The same with the whole library instead of the cards in use: what `himc pdk check` compares with."""
        with self._withholding(f"corners.{corner}"):
            return self._header(corner, self.library(corner).whole())

    def mismatch_terms(self, corner: str, wrapper_name: str) -> int:
        """Standard normals that one device of a wrapper takes: 1 by Pelgrom, else the terms in its cards.

        BadInput where nothing is known of the kit's mismatch.
        """
        if self.mismatch is None:
            raise BadInput(f"mismatch: PDK '{self.name}' states none; give [mismatch] in its pdk.toml")
        if isinstance(self.mismatch, Pelgrom):
            return 1
        return terms_of(self.cards(corner), self.devices[wrapper_name].model)

    def mismatch_header(self, corner: str) -> str:
        """The header with wrappers that take a device's deviations: `dvt` in volts, or mm0, mm1, … in sigmas."""
        return self._once(("mismatch header", corner), lambda: self._mismatch_header(corner))

    def _mismatch_header(self, corner: str) -> str:
        cards, names = self.cards(corner), {name: self.mismatch_terms(corner, name) for name in self.devices}
        header = self._header(corner, cards)
        native = isinstance(self.mismatch, NativeMismatch)
        if native:
            header = self._header(corner, explicit_cards(cards, [d.model for d in self.devices.values()]))
        for name, count in names.items():
            device, shift = self.devices[name], self.corners[corner].vth_shift_v[0 if name[:4] == "nmos" else 1]
            plain = wrapper(name, device, self.scale, shift)
            taken = [f"mm{k}" for k in range(count)] if native else ["dvt"]
            lines = plain.splitlines()
            lines[0] += "".join(f" {term}=0" for term in taken)
            passed = "".join(f" {term}={{{term}}}" for term in taken) if native else " delvto={dvt}"
            if not native and shift:
                signed = shift if name[:4] == "nmos" else -shift
                lines[-2] = lines[-2].replace(f" delvto={signed:g}", "")
                passed = f" delvto={{dvt+{signed:g}}}"
            lines[-2] += passed
            header = header.replace(plain, "\n".join(lines))
        return header + self._copies(corner)

    def _header(self, corner: str, cards: str) -> str:
        g = self.geometry
        check_names(cards)
        for name, device in self.devices.items():
            check_extra(name, device.model, device.extra if device.wrapped else {}, cards)
        check_multiples({name: (device.model, device.extra) for name, device in self.devices.items() if device.wrapped
                         and (device.unit is not None or "m" in map(str.lower, device.extra))}, cards)
        lines = [
            f"* PDK {self.name} {self.version}, corner {corner}, licence {self.licence}",
            *([f"{COMPAT_MARK}{self.compat}"] if self.compat else []),
            *([f".options {' '.join(f'{k}={v}' for k, v in self.options.items())}"] if self.options else []),
            cards.rstrip("\n"),
            f".param lmin={g.lmin_m:g} wmin={g.wmin_m:g} hdif={g.diffusion_m:g}",
        ]
        shift = dict(zip(("nmos", "pmos"), self.corners[corner].vth_shift_v, strict=True))
        lines += [wrapper(name, device, self.scale, shift[name[:4]]) for name, device in self.devices.items()]
        return "\n".join(lines) + "\n"

    def subckts(self, *names: str) -> str:
        """The text of the named subcircuits and of all that they use, the kit's own cells in place of ours."""
        return self._once(("subckts", *names), lambda: netlist.subckts(
            *names, replaced={name: self._replacement(name) for name in self.cells}))

    def _replacement(self, name: str) -> str:
        with self._withholding(f"cells.{name}"):
            return self._own(name).text

    def _own(self, name: str) -> OwnText:
        """The user's netlist and a subcircuit of our name and ports that calls it."""
        if name not in self._owns:
            self._owns[name] = own_text(name, self.cells[name], self._cell_cards(self.cells[name]),
                                        self._kit_tree(next(iter(self.corners))), self._lengths_m(), self._scale_m())
        return self._owns[name]

    def own_transistors(self, name: str) -> tuple[int, int]:
        """How many lines of an own cell are transistors, and how many of them state no areas of source and drain."""
        return self._own(name).transistors, self._own(name).bare

    def _copies(self, corner: str) -> str:
        """The kit's own subcircuits that the own cells need written anew, as the corner's cards have them."""
        needed = {copy for name in self.cells for copy in self._own(name).copies}
        return multiplied_copies(needed, self._kit_tree(corner)) if needed else ""

    def _kit_tree(self, corner: str) -> Scope:
        return kit_tree(tuple(statements(self._plain_header(corner), Path(f"cards of {self.name}"))))

    def check_cells(self) -> None:
        """BadInput for an own cell that does not fit. Where the cards cannot be used, who wants them hears why."""
        for cell in self.cells.values():
            self._cell_text(cell)
        try:
            self._plain_header(next(iter(self.corners)))
        except BadInput:
            return
        for name in self.cells:
            self.subckts(name)

    def _cell_text(self, cell: CellFile) -> str:
        return self._once(("cell", cell.file), lambda: "\n".join(card.text for card in self._cell_cards(cell)))

    def _cell_cards(self, cell: CellFile) -> tuple[Statement, ...]:
        return read_cards(self.cell_path(cell), (self.root, *self.allow, *([self.home] if self.home else [])))

    def cell_path(self, cell: CellFile) -> Path:
        """Where an own cell's netlist lies: beside pdk.toml, else in `root`; the first of them where in neither."""
        places = [folder / cell.file for folder in (self.home, self.root) if folder is not None]
        return next((place for place in places if is_file(place)), places[0])

    def _scale_m(self) -> float:
        """Metres that a plain number of a size stands for in the kit's cards."""
        given = {name.lower(): value for name, value in self.options.items()}.get("scale", "1")
        return self.scale if self.scale != 1.0 else plain_number(given) or 1.0

    def _lengths_m(self) -> dict[str, float]:
        """What a transistor of an own cell can be called -> metres that a plain number of its w and l stands for."""
        if self.scale == 1.0 and "scale" in map(str.lower, self.options):
            return dict.fromkeys(self.devices, 1.0)
        return {**{device.model.lower(): self.scale for device in self.devices.values()},
                **dict.fromkeys(self.devices, 1.0)}


def _rebuild(values: Mapping[str, Any]) -> Pdk:
    return Pdk(**values)


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def wrapper(name: str, device: Device, scale: float = 1.0, vth_shift_v: float = 0.0) -> str:
    """A MOS wrapper subcircuit that adds diffusion areas and perimeters from the global `hdif`.

    BSIM4 with permod = 1 takes perimeters that include the gate edge. A threshold shift raises |Vth|.
    """
    shift = f" delvto={vth_shift_v if name.startswith('nmos') else -vth_shift_v:g}" if vth_shift_v else ""
    if not device.wrapped and scale == 1.0 and device.unit is None and not device.extra:
        return (f".subckt {name} d g s b w=1 l=1\n"
                f"m1 d g s b {device.model} w={{w}} l={{l}} ad={{w*hdif}} as={{w*hdif}} "
                f"pd={{2*(w+hdif)}} ps={{2*(w+hdif)}}{shift}\n"
                f".ends {name}")
    # the callee's parameters are called w and l too and would be seen by the expressions that follow them
    first, count = ".param dw={w} dl={l}", ""
    if device.unit is not None:
        width_m, length_m, multiple = device.unit
        first, count = f".param dw={width_m:g} dl={length_m:g} dn={{w/({multiple:g}*wmin)}}", " m={dn}"
    area, length = f"/{scale * scale:g}" if scale != 1.0 else "", f"/{scale:g}" if scale != 1.0 else ""
    extra = "".join(f" {key}={value}" for key, value in device.extra.items())
    letter = "x" if device.wrapped else "m"
    return (f".subckt {name} d g s b w=1 l=1\n{first}\n"
            f"{letter}1 d g s b {device.model} w={{dw{length}}} l={{dl{length}}} "
            f"ad={{dw*hdif{area}}} as={{dw*hdif{area}}} "
            f"pd={{2*(dw+hdif){length}}} ps={{2*(dw+hdif){length}}}{extra}{count}{shift}\n"
            f".ends {name}")
