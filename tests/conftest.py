"""Resources of the tests: each marker has a mode, and a test that cannot run says why.

Markers `ngspice` (libngspice and the FreePDK45 cards), `pdk` (the cards) and `train` (torch) have the mode
*if_available*: without it their tests are skipped. A name in HIMC_REQUIRE (comma-separated), or CI being set,
makes the resource *required*: without it the whole run stops before a test. A name in HIMC_DISABLE makes it
*disabled*: skipped even where it is there. `validate` runs only where the `-m` expression names it.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Iterable, Mapping

import pytest

from charlib.pdk import installed
from charlib.spice.live import library_path

REQUIRED, IF_AVAILABLE, DISABLED = "required", "if_available", "disabled"
KIT = "freepdk45"


def _lacks_kit() -> str | None:
    return None if KIT in installed() else f"{KIT} is not in the cache; run 'himc pdk install {KIT}'"


def _lacks_ngspice() -> str | None:
    if library_path() is None:
        return "libngspice is not on this machine; run 'apt-get install -y libngspice0'"
    return _lacks_kit()


def _lacks_torch() -> str | None:
    return None if importlib.util.find_spec("torch") else "torch is not installed; run 'make setup'"


#: marker -> what is missing, or None
RESOURCES: Mapping[str, Callable[[], str | None]] = {
    "ngspice": _lacks_ngspice, "pdk": _lacks_kit, "train": _lacks_torch,
}
#: what CI=true asks for
REQUIRED_IN_CI = ("ngspice", "pdk")


def mode(resource: str, environment: Mapping[str, str]) -> str:
    """required, if_available or disabled; what is disabled by name stays so."""
    if resource in environment.get("HIMC_DISABLE", "").split(","):
        return DISABLED
    if resource in environment.get("HIMC_REQUIRE", "").split(","):
        return REQUIRED
    in_ci = environment.get("CI", "").lower() not in ("", "0", "false")
    return REQUIRED if in_ci and resource in REQUIRED_IN_CI else IF_AVAILABLE


def pytest_collection_modifyitems(config: pytest.Config, items: Iterable[pytest.Item]) -> None:
    """Skip what cannot run, or stop the run where it must."""
    items = list(items)
    if "validate" not in str(config.option.markexpr):
        slow = pytest.mark.skip(reason="slow; 'make validate' runs it")
        for item in items:
            if item.get_closest_marker("validate"):
                item.add_marker(slow)
    for resource, lacks in RESOURCES.items():
        marked = [item for item in items if item.get_closest_marker(resource)]
        wanted = mode(resource, os.environ)
        missing = "disabled by HIMC_DISABLE" if wanted == DISABLED else lacks()
        if missing and wanted == REQUIRED and marked:
            pytest.exit(f"{resource} is required here: {missing}", returncode=1)
        if missing:
            for item in marked:
                item.add_marker(pytest.mark.skip(reason=missing))
