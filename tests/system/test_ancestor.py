"""The ancestor macro from circuits: its rate, its sums, what its energy follows, what stands on the page."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from charlib.errors import BadInput
from system.ancestor import (
    ROUTES,
    AncestorOptions,
    circuit_of,
    covered,
    cycle,
    density_at,
    efficiency,
    energies_j,
    flip_flops,
    macs_a_round,
    open_route,
    operations_per_s,
    options_from,
    round_terms,
    sigma_j,
    silicon,
    tops_per_w,
)
from system.readings import Reader

OPTIONS = AncestorOptions()


@pytest.fixture(scope="module")
def reader() -> Reader:
    return open_route(OPTIONS)


def test_the_published_rate_follows_from_the_structure(reader: Reader) -> None:
    """5.33 GOPS at 3 ns: 64 products in 24 ns, two operations each."""
    circuit = circuit_of(OPTIONS, reader)
    assert macs_a_round(circuit) == 64
    assert operations_per_s(circuit, 3e-9) == pytest.approx(5.333e9, rel=1e-3)


def test_efficiency_is_operations_over_the_blocks_sum(reader: Reader) -> None:
    circuit = circuit_of(OPTIONS, reader)
    blocks = energies_j(round_terms(circuit, OPTIONS))
    assert all(joules > 0 for joules in blocks.values())
    assert efficiency(OPTIONS, reader) == pytest.approx(128 / math.fsum(blocks.values()) / 1e12, rel=1e-12)
    assert tops_per_w(circuit, 128e-12) == pytest.approx(1.0)
    assert 0.0 < sigma_j(round_terms(circuit, OPTIONS)) < 0.1 * math.fsum(blocks.values())


@pytest.mark.parametrize("datapath", ["isolated", "open", "sum_first"])
def test_denser_data_cost_more(reader: Reader, datapath: str) -> None:
    found = [efficiency(replace(OPTIONS, datapath=datapath, input_density=d, weight_density=d), reader)
             for d in (0.0, 0.1, 0.25, 0.5)]
    assert found == sorted(found, reverse=True)


def test_choices_order_as_circuits_do(reader: Reader) -> None:
    asked = efficiency(OPTIONS, reader)
    assert efficiency(replace(OPTIONS, read_policy="reread"), reader) < asked
    assert efficiency(replace(OPTIONS, datapath="open"), reader) < asked
    assert efficiency(replace(OPTIONS, datapath="sum_first"), reader) > asked
    circuit = circuit_of(OPTIONS, reader)
    assert sum(flip_flops(circuit, "sum_first").values()) < sum(flip_flops(circuit).values())


def test_the_density_at_which_a_figure_is_met(reader: Reader) -> None:
    wanted = efficiency(replace(OPTIONS, input_density=0.2, weight_density=0.2), reader)
    assert density_at(OPTIONS, reader, wanted) == pytest.approx(0.2, abs=1e-6)
    assert density_at(OPTIONS, reader, 1e6) is None
    assert density_at(OPTIONS, reader, 1e-6) == 0.5


def test_the_path_fits_the_published_cycle_on_every_route() -> None:
    for route in ROUTES:
        options = AncestorOptions(route=route)
        if covered(options):
            assert 0.2e-9 < cycle(options, open_route(options))[0].cycle_s < 3e-9


def test_area_sums_and_brackets(reader: Reader) -> None:
    area = silicon(OPTIONS, reader)
    assert area.low_m2 < area.total_m2 < area.high_m2
    assert math.fsum(area.blocks_m2.values()) == pytest.approx(area.total_m2, rel=1e-12)
    assert 0.03e-6 / 2 < area.total_m2 < 0.03e-6 * 2


@pytest.mark.parametrize(("changes", "message"), [
    ({"route": "by guess"}, "route: "), ({"datapath": "x"}, "datapath: "), ({"read_policy": "x"}, "read_policy: "),
    ({"cycle_s": 0.0}, "cycle_s: "), ({"colour": 1}, "options: colour not known"),
])
def test_what_is_no_option_is_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        options_from(changes)
