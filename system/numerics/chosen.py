"""Which vector kernels compute here, and why it is the slower ones: said where a run starts, and recorded."""

from __future__ import annotations

import os
import warnings
from dataclasses import dataclass

from system.numerics import native

SLOWER = "numba's give the same bits, some 20 times more slowly"
REMEDY = "run 'apt-get install -y g++', or set CXX to a compiler (GCC 12 or later)"


@dataclass(frozen=True)
class Kernels:
    """kind: "c++" or "numba". compiler: its path, "" where there is none. why: why they are numba's, else ""."""

    kind: str
    compiler: str
    threads: int
    why: str = ""

    def __str__(self) -> str:
        if self.kind == "c++":
            return f"kernels: C++, built by {self.compiler}, {self.threads} threads"
        return f"kernels: numba's, {self.threads} threads, since {self.why}; {SLOWER}"


def kernels() -> Kernels:
    """The kernels of this process, built now if need be; a compiler's failure is in `why`, and no warning."""
    path, threads = native.compiler() or "", native.threads()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = native.library()
    if found is not None:
        return Kernels("c++", path, threads)
    if os.environ.get("HIMC_NATIVE", "1") == "0":
        return Kernels("numba", path, threads, "HIMC_NATIVE=0 switches the others off")
    if not path:
        named = os.environ.get("CXX", "")
        why = f"CXX names no program, '{named}'" if named else "no C++ compiler is here"
        return Kernels("numba", "", threads, why)
    return Kernels("numba", path, threads, f"{path} could not build the others ({native.attempt()[1]})")
