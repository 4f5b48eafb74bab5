"""Set the project up: virtual environment, packages, ngspice, process kit. Run by `make setup`; safe to repeat.

Only the standard library is used, since nothing else is there yet. Each step first looks whether it is done,
so a second call takes a moment. System packages follow one rule of consent: the exact apt line is shown, and it
is run as root, with HIMC_INSTALL=1, or after a yes on a terminal; otherwise the set-up stops with that line.

`--keep-going` (used by `make test`) turns a missing simulator or kit into a notice once the environment exists,
so that the tests which need neither can run without network; those which do report as skipped.
"""

from __future__ import annotations

import argparse
import ctypes.util
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
VENV = ROOT / ".venv"
STAMP = VENV / "himc-setup.sha256"
#: what decides whether the environment is current
PINS = ("pyproject.toml", "constraints.txt", "tools/setup_environment.py")
EXTRAS = "train,explore,cluster,export,test,dev"
KIT = "freepdk45"
LIBRARY_PACKAGE, PROGRAM_PACKAGE = "libngspice0", "ngspice"
SIZE_NOTICE = (
    "setup: about to download about 0.5 GB of Python packages and fill 1.7 GB of disk; of that, torch 2.13.0 is\n"
    "setup: 0.2 GB as a CPU build. Where your pip index serves the CUDA build instead, torch and its libraries\n"
    "setup: are about 3 GB to download and 7 GB on disk. pip uses your own configuration."
)


class SetupFailed(Exception):
    """A step that could not be done; the message says what to do."""


def say(text: str) -> None:
    print(f"setup: {text}", flush=True)


def run(command: Sequence[str], what: str) -> None:
    """Run a command with its output shown; SetupFailed where it fails."""
    done = subprocess.run(list(command), cwd=ROOT, check=False)
    if done.returncode != 0:
        raise SetupFailed(f"{what} failed (exit {done.returncode}); the lines above say why. "
                          "Mend that and run 'make setup' again")


def fingerprint() -> str:
    """Hash of the pins, the interpreter and the place of this checkout."""
    digest = hashlib.sha256(f"{sys.version_info[:2]} {ROOT}".encode())
    for name in PINS:
        digest.update((ROOT / name).read_bytes())
    return digest.hexdigest()


def environment_exists() -> bool:
    return (VENV / "bin" / "python").exists() and STAMP.exists()


def environment_is_current() -> bool:
    return environment_exists() and STAMP.read_text(encoding="utf-8").strip() == fingerprint()


# -- system packages ----------------------------------------------------------------------------------------


def missing_system_packages() -> list[str]:
    """Debian names of what is not on this machine."""
    missing = []
    if importlib.util.find_spec("ensurepip") is None and not (VENV / "bin" / "python").exists():
        missing.append(f"python{sys.version_info[0]}.{sys.version_info[1]}-venv")
    if not (os.environ.get("NGSPICE_LIBRARY_PATH") or ctypes.util.find_library("ngspice")):
        missing.append(LIBRARY_PACKAGE)
    if shutil.which("ngspice") is None:
        missing.append(PROGRAM_PACKAGE)
    return missing


def apt_line(packages: Sequence[str]) -> str:
    """The line that is shown, and run after consent."""
    sudo = "" if os.geteuid() == 0 else "sudo "
    return f"{sudo}apt-get update && {sudo}apt-get install -y --no-install-recommends {' '.join(packages)}"


def consent(line: str) -> bool:
    """Root, HIMC_INSTALL=1, or a yes typed on a terminal."""
    if os.geteuid() == 0 or os.environ.get("HIMC_INSTALL") == "1":
        return True
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        return False
    return input(f"setup: run this now? {line}\nsetup: [y/N] ").strip().lower() in ("y", "yes")


def install_system_packages() -> None:
    """ngspice's library and program, and venv support; nothing to do where they are there."""
    missing = missing_system_packages()
    if not missing:
        return
    line = apt_line(missing)
    say(f"missing on this machine: {', '.join(missing)}. The line that installs them:")
    print(f"    {line}", flush=True)
    if shutil.which("apt-get") is None:
        raise SetupFailed("there is no apt-get here; install ngspice's shared library (and the ngspice program) by "
                          "your system's means, or set NGSPICE_LIBRARY_PATH, and run 'make setup' again")
    if not consent(line):
        raise SetupFailed(f"nothing was installed. Run the line above, or 'HIMC_INSTALL=1 make setup': {line}")
    done = subprocess.run(["sh", "-c", line], check=False, env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"})
    if done.returncode != 0:
        raise SetupFailed(f"apt-get failed (exit {done.returncode}): {line}")


# -- Python -------------------------------------------------------------------------------------------------


def make_environment() -> None:
    """.venv with the package and its pinned dependencies; skipped where the stamp says that it is current."""
    if environment_is_current():
        return
    print(SIZE_NOTICE, flush=True)
    python = VENV / "bin" / "python"
    if not python.exists():
        say(f"making {VENV} with {sys.executable}")
        run([sys.executable, "-m", "venv", str(VENV)], "making the virtual environment")
    STAMP.unlink(missing_ok=True)
    run([str(python), "-m", "pip", "install", "--disable-pip-version-check", "--constraint", "constraints.txt",
         "--editable", f".[{EXTRAS}]"], "installing the packages")
    STAMP.write_text(fingerprint() + "\n", encoding="utf-8")


def install_kit() -> None:
    """The process kit, through the program's own command: pinned by version and sha256."""
    run([str(VENV / "bin" / "himc"), "pdk", "install", KIT], f"fetching the process kit {KIT}")


def set_up(keep_going: bool) -> int:
    """All steps in order; 0 where all is there, else 1 after one clear line."""
    existed = environment_exists()
    steps = ((install_system_packages, keep_going and existed), (make_environment, False),
             (install_kit, keep_going and existed))
    for step, may_fail in steps:
        try:
            step()
        except SetupFailed as error:
            if not may_fail:
                print(f"setup: stopped: {error}", file=sys.stderr)
                return 1
            say(f"going on without: {error}")
    say("done; 'himc doctor' (.venv/bin/himc doctor) shows what is there")
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--keep-going", action="store_true", help="a missing simulator or kit is a notice")
    return set_up(parser.parse_args().keep_going)


if __name__ == "__main__":
    sys.exit(main())
