"""campaign.yaml: the options of `himc characterize`, kept in a file, and grids of one's own.

Read as bounded YAML (:mod:`charlib.yaml_file`), checked against the published schema
(:mod:`charlib.campaign.schema`), then against the benches: every point of a grid is made once, so what the bench
refuses is refused here. Every error names file, line, field, value and what is allowed.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any

from charlib.benches import BENCHES
from charlib.benches.base import Bench, make_point
from charlib.benches.bitcell_mismatch import BENCH as MONTE_CARLO
from charlib.benches.bitcell_mismatch import DEFAULT_SAMPLES, DEFAULT_SEED, METRICS
from charlib.campaign.plan import ALIASES, KINDS, PRESETS
from charlib.campaign.run import TIMEOUT_S
from charlib.campaign.schema import MAX_POINTS, OPERATING, campaign_schema, from_text, structure_fields, unit_of
from charlib.errors import BadInput
from charlib.pdk import Pdk
from charlib.yaml_file import Document, Fault, FieldPath, Tree, path_text, read_content, read_tree, shown

#: structural coordinates of one point
Structure = Mapping[str, Any]


@dataclass(frozen=True)
class Mismatch:
    """Monte Carlo: how many samples a margin, from which random stream."""

    samples: int = DEFAULT_SAMPLES
    seed: int = DEFAULT_SEED

    def __post_init__(self) -> None:
        if self.samples < 2:
            raise BadInput(f"samples: at least 2 are needed, got {self.samples}")
        if self.seed < 0:
            raise BadInput(f"seed: must not be negative, got {self.seed}")

    def grid(self) -> tuple[Structure, ...]:
        """The points of every margin's samples."""
        return tuple({"metric": metric, "seed": self.seed, "sample": k}
                     for metric in METRICS for k in range(self.samples))


@dataclass(frozen=True)
class CampaignFile:
    """What a campaign file says; empty or None where it says nothing.

    grids: kind -> the points' structural coordinates, for the benches that have a grid of their own.
    """

    preset: str | None = None
    pdk: tuple[str, ...] = ()
    corner: tuple[str, ...] = ()
    vdd_v: tuple[float, ...] = ()
    temp_c: tuple[float, ...] = ()
    benches: tuple[str, ...] = ()
    mismatch: Mismatch | None = None
    tolerance: float | None = None
    jobs: int | None = None
    scheduler: str | None = None
    db: str | None = None
    out: str | None = None
    timeout_s: float | None = None
    retry_failed: bool = False
    grids: Mapping[str, tuple[Structure, ...]] = field(default_factory=dict)
    path: Path | None = field(default=None, compare=False)
    lines: Mapping[FieldPath, int] = field(default_factory=dict, compare=False, repr=False)

    def fault(self, where: FieldPath, message: str) -> BadInput:
        """An error at a field of this file; without a file, the message alone."""
        if self.path is None:
            return BadInput(message)
        return Document("campaign", self.path, {}, self.lines).fault(where, message)

    def check_kit(self, pdk: Pdk, fields: Sequence[str] = OPERATING) -> None:
        """BadInput, at its line, for a corner, temperature or supply of this file that the kit does not have."""
        low_c, high_c = pdk.temp_range_c
        usual = {"corner": next(iter(pdk.corners)), "vdd_v": pdk.nominal_vdd_v,
                 "temp_c": min(max(25.0, low_c), high_c)}
        for name in fields:
            for k, value in enumerate(getattr(self, name)):
                try:
                    pdk.check(**{**usual, name: value})
                except BadInput as error:
                    raise self.fault((name, k), str(error).removeprefix(f"{name}: ")) from error


def load_campaign_file(path: Path, benches: Mapping[str, Bench] = BENCHES) -> CampaignFile:
    """Read and check a campaign file; BadInput with line and field of the first fault."""
    try:
        return parse_campaign(read_content(path), path, benches)
    except OSError as error:
        raise BadInput(f"campaign {path}: cannot be read ({error.strerror or error}); give a YAML file") from error


def parse_campaign(content: bytes, path: Path, benches: Mapping[str, Bench] = BENCHES) -> CampaignFile:
    """The campaign file with this content; `path` is for errors."""
    try:
        tree = read_tree(content)
        schema = campaign_schema(benches)
        if not isinstance(tree.data, dict):
            raise Fault(tree.lines.get((), 1), "",
                        f"'field: value' lines are needed; fields are {', '.join(schema['properties'])}")
        _check_schema(tree, schema)
        return _convert(tree, schema, path, benches)
    except Fault as fault:
        raise BadInput(f"campaign {path}: {fault}") from fault


def _check_schema(tree: Tree, schema: Mapping[str, Any]) -> None:
    """Fault for the violation of the schema that stands first in the file; what is missing comes last in its line."""
    from jsonschema import Draft202012Validator  # a tenth of a second to import, so only where a file is read

    faults = [(error.validator == "required", _fault(tree, tuple(error.absolute_path), error))
              for error in Draft202012Validator(schema).iter_errors(tree.data)]
    if faults:
        raise min(faults, key=lambda found: (found[1].line, found[0]))[1]


def _fault(tree: Tree, path: FieldPath, error: Any) -> Fault:
    rule, value, schema = error.validator, error.instance, error.schema
    if rule == "additionalProperties":
        known = schema["properties"]
        name = next(name for name in value if name not in known)
        where = (*path, name)
        hint = f"fields are {', '.join(known) or 'none'}"
        if path and name in OPERATING:
            hint += f"; {name} is given at the top of the file"
        return Fault(tree.lines[where], path_text(where), f"field {shown(name)} is unknown; {hint}")
    if rule == "required":
        missing = [name for name in error.validator_value if name not in value]
        allowed = [schema["properties"][name]["description"] for name in missing]
        if len(missing) == 1:
            return Fault(tree.lines[path], path_text((*path, missing[0])), f"is missing; allowed: {allowed[0]}")
        listed = "; ".join(f"{name}: {text}" for name, text in zip(missing, allowed, strict=True))
        return Fault(tree.lines[path], path_text(path), f"{', '.join(missing)} are missing; allowed: {listed}")
    return _refused(tree, path, value, schema["description"])


def _refused(tree: Tree, where: FieldPath, value: Any, allowed: str) -> Fault:
    return Fault(tree.lines[where], path_text(where), f"{shown(value)} is not allowed; allowed: {allowed}")


def _convert(tree: Tree, schema: Mapping[str, Any], path: Path, benches: Mapping[str, Bench]) -> CampaignFile:
    """The data as a CampaignFile, all of its points made once."""
    said, known = dict(tree.data), schema["properties"]
    for name in ("pdk", "corner"):
        if name in said:
            said[name] = tuple(value for _, value in _items(tree, said[name], (name,)))
    for name in ("vdd_v", "temp_c"):
        if name in said:
            said[name] = tuple(_number(tree, value, where, known[name]["items"])
                               for where, value in _items(tree, said[name], (name,)))
    for name in ("tolerance", "timeout_s"):
        if name in said:
            said[name] = _number(tree, said[name], (name,), known[name])
    if "jobs" in said:
        said["jobs"] = int(said["jobs"])
    if "mismatch" in said:
        said["mismatch"] = Mismatch(**{name: int(value) for name, value in said["mismatch"].items()})
    for name in ("pdk", "corner", "vdd_v", "temp_c"):
        _each_once(tree, said.get(name, ()), (name,))
    columns = dict(_columns(tree, said.get("benches", []), benches))
    kinds = said["benches"] = tuple(columns)
    if "mismatch" in said and columns.get(MONTE_CARLO.kind) is not None:
        raise Fault(tree.lines["mismatch",], "mismatch",
                    f"samples are given by the grid of {MONTE_CARLO.kind} too; give either this field or that grid")
    _check_size(tree, said, columns, benches)
    timeout_s = said.get("timeout_s", TIMEOUT_S)
    grids = {kind: _points(tree, ("benches", kinds.index(kind), "grid"), given, benches[kind], timeout_s)
             for kind, given in columns.items() if given is not None}
    return CampaignFile(**said, grids=grids, path=path, lines=tree.lines)


def _items(tree: Tree, value: Any, where: FieldPath) -> list[tuple[FieldPath, Any]]:
    """A value, or the values of a list, each with its place."""
    if isinstance(value, list):
        return [((*where, k), item) for k, item in enumerate(value)]
    return [(where, value)]


def _number(tree: Tree, value: Any, where: FieldPath, schema: Mapping[str, Any]) -> float:
    """A number, or its text with a unit, within the bounds of the schema."""
    from jsonschema import Draft202012Validator

    name = next(str(step) for step in reversed(where) if isinstance(step, str))
    number = from_text(value, unit_of(name)) if isinstance(value, str) else float(value)
    if not math.isfinite(number) or (isinstance(value, str) and not Draft202012Validator(schema).is_valid(number)):
        raise _refused(tree, where, value, schema["description"])
    return number


def _each_once(tree: Tree, values: Sequence[Any], where: FieldPath) -> None:
    seen: dict[Any, int] = {}
    for k, value in enumerate(values):
        if value in seen:
            raise Fault(tree.lines[*where, k], path_text((*where, k)),
                        f"{shown(value)} stands twice, first as {path_text((*where, seen[value]))}; give each once")
        seen[value] = k


def _columns(tree: Tree, entries: Sequence[Any],
             benches: Mapping[str, Bench]) -> Iterator[tuple[str, dict[str, list[Any]] | None]]:
    """(kind, values of each structural coordinate) of each bench; None where the preset's grid is meant."""
    kinds = [entry if isinstance(entry, str) else entry["kind"] for entry in entries]
    _each_once(tree, kinds, ("benches",))
    for k, (kind, entry) in enumerate(zip(kinds, entries, strict=True)):
        grid = entry.get("grid") if isinstance(entry, dict) else None
        if grid is None:
            yield kind, None
            continue
        columns: dict[str, list[Any]] = {}
        for coordinate, form in structure_fields(benches[kind].point_type).items():
            name = coordinate.name
            if name not in grid:
                columns[name] = [coordinate.default]
                continue
            place: FieldPath = ("benches", k, "grid", name)
            columns[name] = [_number(tree, value, where, {"description": "a finite number"}) if form is float
                             else form(value) for where, value in _items(tree, grid[name], place)]
            _each_once(tree, columns[name], place)
        yield kind, columns


def _check_size(tree: Tree, said: Mapping[str, Any], columns: Mapping[str, Mapping[str, Sequence[Any]] | None],
                benches: Mapping[str, Bench]) -> None:
    """Fault where the campaign has more points than are allowed."""
    preset = ALIASES.get(said.get("preset", "quick"), said.get("preset", "quick"))
    usual = PRESETS.get(preset, PRESETS["quick"])
    operating = math.prod(len(said.get(name) or default) for name, default in
                          zip(OPERATING, usual, strict=True)) * len(said.get("pdk") or "1")
    samples = len(METRICS) * said.get("mismatch", Mismatch()).samples
    total = 0
    for kind in columns or KINDS.get(preset, tuple(benches)):
        given = columns.get(kind)
        if given is not None:
            total += operating * math.prod(len(values) for values in given.values())
        elif kind == MONTE_CARLO.kind and (preset == "mismatch" or kind in columns):
            total += operating * samples
        else:
            total += operating * sum(1 for _ in benches[kind].grid(preset))
    if total > MAX_POINTS:
        where: FieldPath = next(((name,) for name in ("benches", *OPERATING) if (name,) in tree.lines), ())
        raise Fault(tree.lines.get(where, 1), path_text(where),
                    f"the campaign has {total} points; at most {MAX_POINTS} are allowed; give fewer values")


def _points(tree: Tree, place: FieldPath, columns: Mapping[str, Sequence[Any]], bench: Bench,
            timeout_s: float) -> tuple[Structure, ...]:
    """The cartesian product, each made into a point; Fault at the coordinate that the bench refuses."""
    known = {coordinate.name for coordinate in structure_fields(bench.point_type)}
    fixed = {f.name: f.default for f in fields(bench.point_type)
             if f.name not in known and f.name not in OPERATING and f.default is not MISSING}
    usual = {"corner": "tt", "temp_c": 25.0, "vdd_v": 1.0}
    found: list[Structure] = []
    for chosen in itertools.product(*(range(len(column)) for column in columns.values())):
        at = dict(zip(columns, chosen, strict=True))
        structure = {**fixed, **{name: columns[name][k] for name, k in at.items()}}
        try:
            point = make_point(bench.point_type, {**usual, **structure})
        except BadInput as error:
            raise _blame(tree, place, at, structure, str(error)) from error
        cost_s = float(bench.estimated_cost_s(point))
        if cost_s > timeout_s:
            where = ", ".join(f"{name}={shown(structure[name])}" for name in at)
            raise Fault(tree.lines[place], path_text(place),
                        f"a run at {where} takes about {cost_s:.3g} s; allowed: timeout_s, which is {timeout_s:g} s")
        found.append(structure)
    return tuple(found)


def _blame(tree: Tree, place: FieldPath, at: Mapping[str, int], structure: Structure, message: str) -> Fault:
    """The coordinate that a point's error begins with, at its line; else the whole grid."""
    name, _, rest = message.partition(": ")
    if name not in at or (*place, name) not in tree.lines:
        return Fault(tree.lines[place], path_text(place), message)
    where: FieldPath = (*place, name, at[name])
    where = where if where in tree.lines else where[:-1]
    return Fault(tree.lines[where], path_text(where), f"{shown(structure[name])} is not allowed; {rest}")
