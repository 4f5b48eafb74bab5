"""A card read through NVML, the driver's own library: energy, power limit, utilisation, clock, temperature.

The package `nvidia-ml-py` is imported by `nvml_module` alone, when it is needed.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from charlib.errors import HimcError
from charlib.units import MEGA, MILLI
from system.gpu_records import CARDS, card_slug


@dataclass(frozen=True)
class Reading:
    """One look at a busy card; None where its driver does not tell."""

    utilisation: float | None
    sm_clock_hz: float | None
    temp_c: float | None


class NvmlSensor:
    """A card through NVML (`nvidia-ml-py`). `nvml`: that module, or one like it."""

    def __init__(self, nvml: Any, uuid: str = "", index: int = 0, title: str = "") -> None:
        self._nvml = nvml
        self._call("nvmlInit")
        self._handle = self._find(uuid, index)
        self._refuse_slices(uuid)
        self.title = title or self._of("nvmlDeviceGetName")
        self.driver: str = self._call("nvmlSystemGetDriverVersion")
        self.power_limit_w = self._of("nvmlDeviceGetEnforcedPowerLimit") * MILLI
        known = CARDS.get(card_slug(self.title))
        self.board_power_w = (known.tdp_w if known else
                              self._of("nvmlDeviceGetPowerManagementDefaultLimit") * MILLI)
        self.bytes_per_s = known.bytes_per_s if known else self._bandwidth()
        self.energy_j()

    def _find(self, uuid: str, index: int) -> Any:
        """The only card, or that of the UUID: NVML and CUDA count cards differently."""
        if self._call("nvmlDeviceGetCount") == 1:
            return self._call("nvmlDeviceGetHandleByIndex", 0)
        if uuid:
            return self._call("nvmlDeviceGetHandleByUUID", uuid)
        return self._call("nvmlDeviceGetHandleByIndex", index)

    def _refuse_slices(self, uuid: str) -> None:
        """HimcError for a slice of a card: the energy counter is the whole board's, its other tenants' work included.

        CUDA may give a slice's UUID or its card's, so the card's mode is asked as well.
        """
        mode = self._known("nvmlDeviceGetMigMode")  # (now, after a reset); None: the card knows no slices
        if uuid.upper().startswith("MIG-") or (mode is not None and mode[0] != 0):
            raise HimcError(f"gpu: {uuid or 'the card'} is cut into slices (MIG), and the energy counter is the "
                            "whole board's; measure on a card with MIG off, or use the rows of a shipped card")

    def others(self) -> int:
        """Compute processes on the card beside this one, as far as the driver tells."""
        found = self._known("nvmlDeviceGetComputeRunningProcesses") or ()
        return sum(1 for process in found if getattr(process, "pid", None) != os.getpid())

    def _bandwidth(self) -> float:
        """Two transfers a memory clock, over the whole bus."""
        clock = self._of("nvmlDeviceGetMaxClockInfo", self._nvml.NVML_CLOCK_MEM) * MEGA
        return float(2 * clock * self._of("nvmlDeviceGetMemoryBusWidth") / 8)

    def energy_j(self) -> float:
        """The board's energy since the driver was loaded."""
        return float(self._of("nvmlDeviceGetTotalEnergyConsumption") * MILLI)

    def reading(self) -> Reading:
        """Utilisation, clock and temperature now."""
        rates = self._known("nvmlDeviceGetUtilizationRates")
        clock = self._known("nvmlDeviceGetClockInfo", self._nvml.NVML_CLOCK_SM)
        heat = self._known("nvmlDeviceGetTemperature", self._nvml.NVML_TEMPERATURE_GPU)
        return Reading(None if rates is None else rates.gpu / 100, None if clock is None else clock * MEGA,
                       None if heat is None else float(heat))

    def _known(self, name: str, *arguments: Any) -> Any:
        """A value that a row can do without: None where this driver does not tell it."""
        try:
            return self._of(name, *arguments)
        except HimcError:
            return None

    def _of(self, name: str, *arguments: Any) -> Any:
        return self._call(name, self._handle, *arguments)

    def _call(self, name: str, *arguments: Any) -> Any:
        try:
            return getattr(self._nvml, name)(*arguments)
        except self._nvml.NVMLError as error:
            raise HimcError(f"gpu: the driver refuses {name} ({error}); the energy counter needs a Volta card or "
                            "later, with its driver") from error


def nvml_module() -> Any:
    """The package that reads the driver; imported here alone."""
    try:
        import pynvml
    except ImportError as error:
        raise HimcError("nvidia-ml-py is not installed, and the card's energy is read through it; run "
                        "'pip install nvidia-ml-py'") from error
    return pynvml
