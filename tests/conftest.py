"""Resources of the tests: each marker has a mode, and a test that cannot run says why.

Markers `ngspice` (libngspice and the FreePDK45 cards), `pdk` (the cards) and `train` (torch) have the mode
*if_available*: without it their tests are skipped. A name in HIMC_REQUIRE (comma-separated), or CI being set,
makes the resource *required*: without it the whole run stops before a test. A name in HIMC_DISABLE makes it
*disabled*: skipped even where it is there. `validate` runs only where the `-m` expression names it.

Tests of optional packages and programs skip by themselves, with a reason that names it (`pyarrow`, `yosys`, `sta`); a
name in HIMC_REQUIRE turns such a skip into a failure. Every reason is listed at the end of a run, with its count.
"""

from __future__ import annotations

import importlib.util
import os
import re
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Mapping

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


def required(reason: str, environment: Mapping[str, str]) -> str | None:
    """The name in HIMC_REQUIRE for want of which a test skips, else None."""
    names = filter(None, environment.get("HIMC_REQUIRE", "").split(","))
    return next((name for name in names if re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", reason)), None)


def reason_of(report: pytest.TestReport | pytest.CollectReport) -> str:
    """Why a test or a file was skipped."""
    said = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    return said.removeprefix("Skipped: ")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A test that skips for want of what HIMC_REQUIRE names has failed."""
    report = yield
    disabled = os.environ.get("HIMC_DISABLE", "")
    if report.skipped and not disabled and (name := required(reason_of(report), os.environ)):
        report.outcome, report.longrepr = "failed", f"{name} is required here (HIMC_REQUIRE): {reason_of(report)}"
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What was skipped and why, so that nobody takes it for tested."""
    counts = Counter(reason_of(report) for report in terminalreporter.stats.get("skipped", ()))
    if counts:
        terminalreporter.section("skipped")
        for reason, count in counts.most_common():
            terminalreporter.write_line(f"{count} skipped: {reason}")
