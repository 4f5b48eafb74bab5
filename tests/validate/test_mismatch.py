"""Mismatch against independent views of it: the cards' own random terms, and plain sampling."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence

import numpy as np
import pytest
from scipy import stats

from charlib.benches.bitcell_mismatch import BENCH, MismatchPoint, clopper_pearson
from charlib.campaign.failure import failure_rate
from charlib.pdk import Pdk, installed, load_pdk
from charlib.pdk.mismatch import Pelgrom
from charlib.spice import Deck, OperatingPoint
from charlib.spice.live import LiveEngine
from charlib.spice.sources import dc

pytestmark = [pytest.mark.validate, pytest.mark.ngspice, pytest.mark.pdk]
#: device instances a deck, each with its own draw, and decks
INSTANCES, DECKS = 250, 4


def currents(header: str, devices: Sequence[str], engine: LiveEngine, vdd_v: float, title: str) -> np.ndarray:
    """Drain currents under the same bias; devices: what follows the source node in each one's card."""
    body = header + dc("dd", "vdd", vdd_v) + dc("g", "gate", 0.6 * vdd_v)
    for k, device in enumerate(devices):
        body += dc(f"d{k}", f"d{k}", vdd_v) + f"x{k} d{k} gate 0 0 {device}\n"
    save = tuple(f"i(vd{k})" for k in range(len(devices)))
    waves = engine.run(Deck(title, body, 25.0, OperatingPoint(), save=save))
    return np.array([-float(waves.signal(name)[0]) for name in save])


@pytest.mark.skipif("sky130" not in installed(), reason="sky130 is not installed")
@pytest.mark.parametrize("wrapper", ["nmos_pg", "nmos_pd"])
def test_sky130_s_own_terms_and_ours_agree_over_1000_draws(wrapper: str) -> None:
    """AGAUSS terms evaluated by ngspice, and the parameters that stand for them: equal mean and sigma."""
    pdk, engine = load_pdk("sky130"), LiveEngine()
    vdd_v, terms = pdk.nominal_vdd_v, pdk.mismatch_terms("tt", wrapper)
    device = wrapper + {"nmos_pg": " w={1.5*wmin} l={lmin}", "nmos_pd": " w={2.28*wmin} l={lmin}"}[wrapper]
    native, switched = re.subn(r"(?i)(mc_mm_switch\s*=\s*)0", r"\g<1>1", pdk.header("tt"))
    assert switched == 1
    rng = np.random.Generator(np.random.Philox(5))
    theirs, ours = [], []
    for deck in range(DECKS):
        engine._command(f"set rndseed={deck + 1}")
        theirs.append(currents(native, [device] * INSTANCES, engine, vdd_v, f"native {deck}"))
        given = [" ".join(f"mm{i}={z:.8g}" for i, z in enumerate(rng.standard_normal(terms)))
                 for _ in range(INSTANCES)]
        ours.append(currents(pdk.mismatch_header("tt"), [f"{device} {own}" for own in given], engine, vdd_v,
                             f"explicit {deck}"))
    one, other = np.concatenate(theirs), np.concatenate(ours)
    assert len(one) == len(other) == 1000
    assert len(np.unique(one)) > 900  # the native draws differ from instance to instance
    error = np.sqrt(one.var() / len(one) + other.var() / len(other))
    assert abs(one.mean() - other.mean()) < 3.3 * error
    assert np.std(one) / np.std(other) == pytest.approx(1.0, abs=3.3 / np.sqrt(len(one)))
    assert stats.ks_2samp(one, other).pvalue > 0.001


def rate_of(pdk: Pdk, metric: str, vdd_v: float, seed: int) -> tuple[object, int, int]:
    engine = LiveEngine()

    def measure(points: Sequence[MismatchPoint]) -> list[Mapping[str, float]]:
        return [BENCH.measure(pdk, point, engine.run(BENCH.deck(pdk, point))) for point in points]

    point = MismatchPoint("tt", 25.0, vdd_v, metric, seed, 0)
    plain = [dataclasses.replace(point, seed=seed + 1, sample=k) for k in range(3000)]
    failed = sum(found["margin_v"] < 0 for found in measure(plain))
    return failure_rate(point, BENCH.size(pdk, "tt"), measure), failed, len(plain)


@pytest.mark.skipif("ptm22hp" not in installed(), reason="ptm22hp is not installed")
def test_importance_sampling_agrees_with_plain_sampling_at_a_lowered_supply() -> None:
    """A supply and a spread at which plain sampling sees failures: the two intervals overlap."""
    kit = load_pdk("ptm22hp")
    assert isinstance(kit.mismatch, Pelgrom)
    wide = Pelgrom({name: 2.5 * value for name, value in kit.mismatch.avt_v_m.items()}, "2.5 times as wide")
    rate, failed, count = rate_of(dataclasses.replace(kit, mismatch=wide), "read_snm", 0.6, 11)
    low, high = clopper_pearson(failed, count)
    assert failed > 20
    assert rate.low <= high  # type: ignore[attr-defined]
    assert low <= rate.high  # type: ignore[attr-defined]


def test_the_cell_s_deviations_are_those_of_its_netlist() -> None:
    """Sigma of each device's threshold follows its own area: the pass gate's is that of 1.5 wmin × lmin."""
    pdk = load_pdk("freepdk45")
    assert isinstance(pdk.mismatch, Pelgrom)
    sizes = {device.instance: device.width_m / pdk.geometry.wmin_m for device in BENCH.devices(pdk)}
    assert sizes == pytest.approx({"xpul": 1.0, "xpdl": 2.28, "xpur": 1.0, "xpdr": 2.28, "xpgl": 1.5, "xpgr": 1.5})
    sigma_v = pdk.mismatch.sigma_v("nmos_pg", 1.5 * 90e-9, 50e-9)
    assert sigma_v == pytest.approx(1.6e-9 / np.sqrt(2 * 1.5 * 90e-9 * 50e-9))
