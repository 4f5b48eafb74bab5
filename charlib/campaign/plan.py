"""Plan: what to simulate. A campaign names presets and operating points; it is enumerated into frozen jobs.

A job is a bench kind and a point. Its key is a hash of the deck's text (model cards included), the card
files' hashes, the engine's version, the point, and the code that turns waveforms into measures: whatever
could change the number changes the key, so nothing stale is ever reused, and nothing else is run twice.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Any

from charlib.benches.base import Bench, Point, make_point
from charlib.campaign.fingerprint import measure_hash
from charlib.errors import BadInput
from charlib.pdk import Pdk
from charlib.spice import DcSweep, Deck, Transient

#: length of a run's id in hex digits: 64 bits, with the deck's whole hash beside it in the row
ID_DIGITS = 16
PRESETS: Mapping[str, tuple[tuple[str, ...], tuple[float, ...], tuple[float, ...]]] = {
    "quick": (("tt",), (25.0,), (0.8, 0.9, 1.0)),
    "pvt": (("tt", "ss", "ff"), (-40.0, 25.0, 125.0), (0.8, 0.9, 1.0)),
    "full": (("tt", "ss", "ff"), (-40.0, 25.0, 125.0), (0.8, 0.9, 1.0)),
    "mismatch": (("tt",), (25.0,), (0.8,)),
}  #: preset -> corners, temperatures in °C, supplies as shares of the kit's nominal one
ALIASES: Mapping[str, str] = {}
#: bench kinds of a preset that does not run them all
KINDS: Mapping[str, tuple[str, ...]] = {"mismatch": ("bitcell_mismatch", "compartment_mismatch")}


@dataclass(frozen=True)
class Campaign:
    """What to run: the structural grid of `preset`, at every corner × temperature × supply.

    benches: kinds to run; empty means all.
    """

    preset: str
    corners: tuple[str, ...]
    temps_c: tuple[float, ...]
    vdds_v: tuple[float, ...]
    benches: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.preset not in PRESETS:
            raise BadInput(f"preset: '{self.preset}' is unknown; known are {', '.join([*PRESETS, *ALIASES])}")
        for name, values in (("corner", self.corners), ("temp_c", self.temps_c), ("vdd_v", self.vdds_v)):
            if not values:
                raise BadInput(f"{name}: the campaign has none; give at least one")
            if len(set(values)) < len(values):
                raise BadInput(f"{name}: {', '.join(map(str, values))} names one twice; give each once")

    @classmethod
    def from_preset(cls, preset: str, *, corners: Sequence[str] = (), temps_c: Sequence[float] = (),
                    vdds_v: Sequence[float] = (), benches: Sequence[str] = (),
                    nominal_vdd_v: float = 1.0) -> Campaign:
        """A preset, its supplies scaled to the kit's nominal one, with any of its operating points replaced."""
        name = ALIASES.get(preset, preset)
        default = PRESETS.get(name, ((), (), ()))
        if name not in PRESETS:
            raise BadInput(f"preset: '{preset}' is unknown; known are {', '.join([*PRESETS, *ALIASES])}")
        return cls(name, tuple(corners) or default[0], tuple(temps_c) or default[1],
                   tuple(vdds_v) or tuple(round(share * nominal_vdd_v, 4) for share in default[2]), tuple(benches))


@dataclass(frozen=True)
class Job:
    """One simulation to make: which bench, at which point."""

    kind: str
    point: Point


def enumerate_jobs(campaign: Campaign, pdk: Pdk, benches: Mapping[str, Bench],
                   grids: Mapping[str, Sequence[Mapping[str, Any]]] | None = None) -> tuple[Job, ...]:
    """All jobs of a campaign, in a fixed order. BadInput for a corner, supply or bench that is not there.

    grids: kind -> structural coordinates to take instead of the preset's.
    """
    kinds = campaign.benches or KINDS.get(campaign.preset, tuple(benches))
    for kind in kinds:
        if kind not in benches:
            raise BadInput(f"bench: '{kind}' is unknown; known are {', '.join(sorted(benches)) or 'none'}")
    operating = list(itertools.product(campaign.corners, campaign.temps_c, campaign.vdds_v))
    for corner, temp_c, vdd_v in operating:
        pdk.check(corner, vdd_v, temp_c)
    jobs: list[Job] = []
    for kind in kinds:
        bench = benches[kind]
        for structure in grids[kind] if grids and kind in grids else bench.grid(campaign.preset):
            for corner, temp_c, vdd_v in operating:
                values = {"corner": corner, "temp_c": temp_c, "vdd_v": vdd_v, **structure}
                jobs.append(Job(kind, make_point(bench.point_type, values)))
    return tuple(dict.fromkeys(jobs))


def finer(deck: Deck, factor: int) -> Deck:
    """The deck with a step so many times finer; a deck without a step as it is."""
    if factor == 1:
        return deck
    analysis = deck.analysis
    if isinstance(analysis, Transient):
        analysis = replace(analysis, step_s=analysis.step_s / factor, max_step_s=analysis.max_step_s / factor)
    elif isinstance(analysis, DcSweep):
        analysis = replace(analysis, step_v=analysis.step_v / factor)
    return replace(deck, analysis=analysis)


def deck_of(bench: Bench, pdk: Pdk, point: Point) -> Deck:
    """The deck that is run for a point: the bench's, at the step that converges on this kit."""
    return finer(bench.deck(pdk, point), pdk.step_factors.get(bench.kind, 1))


def run_id(bench: Bench, job: Job, deck: Deck, cards: Mapping[str, str], engine_version: str) -> str:
    """The content key of a run."""
    parts = {
        "kind": job.kind, "point": job.point.coordinates(), "deck": deck.sha256(), "cards": dict(cards),
        "engine": engine_version, "measure": measure_hash(type(bench)),
    }
    text = json.dumps(parts, sort_keys=True, check_circular=False)
    return hashlib.sha256(text.encode()).hexdigest()[:ID_DIGITS]


def revision() -> str:
    """The git revision of this checkout (with "+changes" where files differ), else the package's version."""
    root = Path(__file__).resolve().parents[2]
    if (root / ".git").exists():
        done = subprocess.run(["git", "-C", str(root), "describe", "--always", "--dirty=+changes", "--abbrev=12",
                               "--exclude=*"], capture_output=True, text=True, check=False)
        if done.returncode == 0:
            return done.stdout.strip()
    return "hadamard-imc " + metadata.version("hadamard-imc")
