"""What this installation has and lacks: one finding a line, each with what to do where it is wrong.

Levels: `ok`; `warn` where the program works with less; `bad` where the main job cannot be done as meant. A package
is shadowed where Python would find another `charlib` or `system` before ours: PyPI has a CharLib that imports as
`charlib`, and any folder with a `system.py` hides ours from scripts that are started in it.
"""

from __future__ import annotations

import importlib
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from charlib.errors import HimcError
from charlib.paths import cache_dir, shipped_tables_dir, store_path
from charlib.pdk import KITS, installed
from charlib.spice.live import APT_LINE, LiveEngine, library_path
from charlib.units import GIGA
from system.numerics.chosen import REMEDY, kernels

DISTRIBUTION = "hadamard-imc"
PACKAGES = ("charlib", "system", "netlists")
#: a quick run writes some 50 MB; a whole set of PVT runs with their decks stays below this
LEAST_DISK_B = 2 * GIGA
_QUERY_TIMEOUT_S = 10.0


@dataclass(frozen=True)
class Finding:
    """One line of the doctor."""

    level: str  #: ok, warn or bad
    what: str
    detail: str
    remedy: str = ""


def findings(pdk: str = "freepdk45") -> list[Finding]:
    """Every check in turn; none of them changes anything."""
    search = [Path.cwd(), *(Path(entry) for entry in sys.path if entry)]
    checks: list[Callable[[], Iterable[Finding]]] = [
        _python, lambda: shadowed(search, _homes(), _owners()), _ngspice, lambda: _kits(pdk), _tables, _machine,
        _training, _kernels, _gpu, _places,
    ]
    return [finding for check in checks for finding in check()]


def _python() -> Iterable[Finding]:
    try:
        version = metadata.version(DISTRIBUTION)
    except metadata.PackageNotFoundError:
        yield Finding("bad", "package", f"{DISTRIBUTION} is not installed", "run 'make setup', or 'pip install -e .'")
    else:
        yield Finding("ok", "package", f"{DISTRIBUTION} {version}, Python {platform.python_version()}, {sys.prefix}")


def _homes() -> dict[str, Path]:
    """Where each of our packages was imported from."""
    return {name: Path(str(importlib.import_module(name).__path__[0])).resolve() for name in PACKAGES}


def _owners() -> Mapping[str, Sequence[str]]:
    return metadata.packages_distributions()


def shadowed(search: Sequence[Path], homes: Mapping[str, Path], owners: Mapping[str, Sequence[str]]
             ) -> list[Finding]:
    """Other things of our packages' names.

    search: folders in Python's order. homes: our packages' folders. owners: import name -> distributions.
    """
    found = []
    for name, home in homes.items():
        for other in owners.get(name, ()):
            if other.lower().replace("_", "-") != DISTRIBUTION:
                found.append(Finding("bad", "shadowed package", f"'{name}' is also installed by the distribution "
                                                                f"{other}",
                                     f"run 'pip uninstall {other}', or use a virtual environment of its own"))
        for folder in dict.fromkeys(path.resolve() for path in search):
            for candidate in (folder / name, folder / f"{name}.py"):
                is_package = candidate.suffix == ".py" or (candidate / "__init__.py").is_file()
                if candidate.exists() and is_package and candidate.resolve() != home:
                    found.append(Finding("bad", "shadowed package", f"{candidate} hides our '{name}' ({home})",
                                         "rename or move it, or start Python in another folder"))
    return found or [Finding("ok", "packages", ", ".join(f"{name} from {home}" for name, home in homes.items()))]


def _ngspice() -> Iterable[Finding]:
    path = library_path()
    if path is None:
        yield Finding(_without(), "ngspice library", "libngspice was not found; campaigns need it",
                      f"run '{APT_LINE}', or set NGSPICE_LIBRARY_PATH")
    else:
        try:
            engine = LiveEngine()
        except (HimcError, OSError, ImportError) as error:
            yield Finding("bad", "ngspice library", f"{path} cannot be loaded ({' '.join(str(error).split())})",
                          f"run '{APT_LINE}' again, or correct NGSPICE_LIBRARY_PATH")
        else:
            yield Finding("ok", "ngspice library", f"{engine.version}, {path}")
            klu = engine.has_klu
            yield Finding("ok", "KLU solver", "offered" if klu else
                          "not offered (ngspice 42 and later have it; worth up to 1.8 times on large circuits)")
    program = shutil.which("ngspice")
    if program is None:
        yield Finding("warn", "ngspice program", "not found; 'himc trace' cannot run a deck again",
                      "run 'apt-get install -y ngspice'")
    else:
        yield Finding("ok", "ngspice program", program)


def _kits(pdk: str) -> Iterable[Finding]:
    places = installed()
    if pdk not in KITS:
        yield Finding("bad", "process kit", f"'{pdk}' is unknown; known are {', '.join(KITS)}", "give another --pdk")
    elif pdk not in places:
        yield Finding(_without(), "process kit", f"{pdk} is not in {cache_dir()}; campaigns on it need it",
                      f"run 'himc pdk install {pdk}'")
    for name, place in places.items():
        yield Finding("ok", "process kit", f"{name} {KITS[name].version} in {place}")


def _shipped() -> int:
    """Number of tables of the default kit that travel with the package."""
    folder = shipped_tables_dir("freepdk45")
    return len(list(folder.glob("*.json"))) if folder.is_dir() else 0


def _without() -> str:
    """How bad it is that nothing can be simulated: with tables at hand estimates go on."""
    return "warn" if _shipped() else "bad"


def _tables() -> Iterable[Finding]:
    number = _shipped()
    if number:
        yield Finding("ok", "shipped tables", f"{number} of freepdk45")
    else:
        yield Finding("warn", "shipped tables", f"none in {shipped_tables_dir('freepdk45')}",
                      "run 'make tables', or use 'himc run'")


def _machine() -> Iterable[Finding]:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    yield Finding("ok", "cores", f"{cores} for this process, {platform.system()} {platform.machine()}")


def _training() -> Iterable[Finding]:
    versions = {}
    for name in ("torch", "scikit-learn"):
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            yield Finding("warn", "training", f"{name} is not installed; 'himc run' then skips the training",
                          f"run 'pip install \"{DISTRIBUTION}[train]\"', or 'make setup'")
    if versions:
        yield Finding("ok", "training", ", ".join(f"{name} {version}" for name, version in versions.items()))


def _kernels() -> Iterable[Finding]:
    found = kernels()
    asked_for = found.kind == "c++" or os.environ.get("HIMC_NATIVE") == "0"
    yield Finding("ok" if asked_for else "warn", "vector kernels", str(found).removeprefix("kernels: "),
                  "" if asked_for else REMEDY)


def _gpu() -> Iterable[Finding]:
    program = shutil.which("nvidia-smi")
    if program is None:
        yield Finding("ok", "GPU", "none found (nvidia-smi is not here); nothing needs one")
        return
    try:
        done = subprocess.run([program, "--query-gpu=name,driver_version", "--format=csv,noheader"], check=False,
                              capture_output=True, text=True, timeout=_QUERY_TIMEOUT_S)
    except (OSError, subprocess.TimeoutExpired) as error:
        yield Finding("warn", "GPU", f"nvidia-smi did not answer ({error})", "nothing here needs a GPU; see its "
                                                                             "driver")
        return
    names = "; ".join(done.stdout.split("\n")).strip("; ")
    yield Finding("ok", "GPU", names if done.returncode == 0 and names else "none that nvidia-smi can use")


def _places() -> Iterable[Finding]:
    for what, path, remedy in (("cache", cache_dir(), "set HIMC_CACHE to a folder that you can write to"),
                               ("database", store_path(), "set HIMC_DB, or give --db")):
        existing = next(p for p in (path.absolute(), *path.absolute().parents) if p.exists())
        free_b = shutil.disk_usage(existing).free
        text = f"{path}{'' if path.exists() else ' (not there yet)'}, {free_b / GIGA:.1f} GB free"
        if what == "database" and not path.absolute().parent.is_dir():
            yield Finding("bad", what, f"{path}: its folder is not there", f"make it, or {remedy}")
        elif not os.access(existing, os.W_OK):
            yield Finding("bad", what, f"{path}: {existing} cannot be written to", remedy)
        elif free_b < LEAST_DISK_B:
            yield Finding("warn", what, text, f"free some disk: {LEAST_DISK_B / GIGA:.0f} GB are enough; or {remedy}")
        else:
            yield Finding("ok", what, text)
