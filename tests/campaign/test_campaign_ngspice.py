"""A real deck through the whole campaign, and back to ngspice by hand."""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from fake_bench import RcBench, kit

from charlib.campaign import (
    Campaign,
    Job,
    Store,
    Summary,
    enumerate_jobs,
    explain_run,
    fold_tables,
    rerun,
    run_campaign,
)
from charlib.errors import BadInput, SimulationFailed
from charlib.pdk import Pdk
from charlib.spice.live import LiveEngine, library_path

Finished = tuple[Store, Pdk, Sequence[Job], Summary]
BENCHES = {"rc": RcBench()}
needs_program = pytest.mark.skipif(shutil.which("ngspice") is None, reason="the ngspice program is not here")
pytestmark = [pytest.mark.ngspice,
              pytest.mark.skipif(library_path() is None, reason="libngspice is not on this machine")]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Finished]:
    folder = tmp_path_factory.mktemp("rc")
    pdk = kit(folder / "kit")
    with Store.open(folder / "runs.sqlite") as store:
        jobs = enumerate_jobs(Campaign.from_preset("quick"), pdk, BENCHES)
        summary = run_campaign(jobs, store, pdk, BENCHES, LiveEngine, workers=2)
        yield store, pdk, jobs, summary


def test_rc_delay_and_energy_are_the_analytic_ones(finished: Finished) -> None:
    store, pdk, _, summary = finished
    assert summary.failures == ()
    tables = {table.name: table for table in fold_tables(store, summary.ids, pdk, BENCHES).whole()}
    delay_s = tables["rc_delay_s"].at(corner="tt", temp_c=25, vdd_v=0.9, r_ohm=1000, c_f=1e-12)
    energy_j = tables["rc_energy_j"].at(corner="tt", temp_c=25, vdd_v=0.9, r_ohm=1000, c_f=1e-12)
    assert delay_s == pytest.approx(math.log(2) * 1e-9, rel=5e-3)
    assert energy_j == pytest.approx(1e-12 * 0.9**2, rel=1e-2)


def test_the_second_campaign_simulates_nothing(finished: Finished) -> None:
    store, pdk, jobs, _ = finished
    again = run_campaign(jobs, store, pdk, BENCHES, LiveEngine, workers=1)
    assert (again.ran, again.reused) == (0, 6)


@needs_program
def test_a_stored_deck_run_by_hand_gives_the_stored_measures(finished: Finished) -> None:
    store, _, _, summary = finished
    for run_id in summary.ids.values():
        told = explain_run(store, run_id)
        assert told["origin"]["engine"] == LiveEngine().version
        by_hand = rerun(told["deck"])
        for name, value in told["measures"].items():
            assert by_hand[name] == pytest.approx(value, rel=1e-4)


@needs_program
def test_rerun_reports_what_went_wrong() -> None:
    body = "* t\nv1 a 0 1\nr1 a 0 1\n.tran 1n 10n\n.meas tran {m}\n.end\n"
    assert rerun(body.format(m="top max v(a)")) == {"top": 1.0}
    assert rerun("* t\nv1 a 0 1\nr1 a 0 1\n.op\n.end\n") == {}
    with pytest.raises(SimulationFailed, match=r"^ngspice -b: measure late failed$"):
        rerun(body.format(m="late find v(a) at=50n"))
    with pytest.raises(SimulationFailed, match=r"^ngspice -b gave 0 measures, exit \d+$"):
        rerun("* t\nm1 a b c d nix\n.tran 1n 10n\n.meas tran x max v(a)\n.end\n")


def test_without_the_program_rerun_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BadInput, match=r"^ngspice: the program is not on this machine; "
                                       r"run 'apt-get install -y ngspice'$"):
        rerun("* t\n.end\n")
