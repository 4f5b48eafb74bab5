"""Make a run's deck again from what its row says: for runs whose deck is not stored, since their kit is
confidential."""

from __future__ import annotations

import json

from charlib.benches import BENCHES
from charlib.benches.base import make_point
from charlib.campaign.plan import deck_of
from charlib.errors import BadInput
from charlib.pdk import load_pdk


def deck(pdk: str, kind: str, point: str) -> str:
    """The deck's text. pdk: name or path of the kit; kind: of the bench; point: its fields as JSON."""
    if kind not in BENCHES:
        raise BadInput(f"bench: '{kind}' is unknown; known are {', '.join(BENCHES)}")
    bench = BENCHES[kind]
    return deck_of(bench, load_pdk(pdk), make_point(bench.point_type, json.loads(point))).text()
