"""Benches by kind: everything that a campaign can characterise."""

from charlib.benches.base import Bench

BENCHES: dict[str, Bench] = {}

__all__ = ["BENCHES"]
