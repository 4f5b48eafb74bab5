"""CharLib 1.0.0 on PyPI's PySpice; run by the interpreter of CharLib's own virtual environment.

CharLib needs a fork of PySpice that PyPI does not have. Two of its differences matter here: an analysis answers with
the results of .meas lines, and what ngspice calls a note or a warning is no error. This gives both to PyPI's PySpice.
"""

import re
from typing import Any

from charlib.characterizer.run import main  # type: ignore[import-not-found, unused-ignore]
from PySpice.Spice.NgSpice.Shared import NgSpiceShared as Session
from PySpice.Spice.NgSpice.Simulation import NgSpiceSharedCircuitSimulator as Simulator

_RESULT = re.compile(r"^(\w+)\s*=\s*([-+.\deE]+)\s+targ=", re.MULTILINE)
_HARMLESS = ("Note:", "Warning:")
_run = Simulator._run


def _run_and_keep_results(self: Any, *args: Any, **kwargs: Any) -> Any:
    analysis = _run(self, *args, **kwargs)
    for name, value in _RESULT.findall(self.ngspice.stdout):
        analysis._internal_parameters[name] = float(value)
    return analysis


def _says_error(self: Any) -> bool:
    return any(line.strip() and not any(word in line for word in _HARMLESS) for line in self._stderr)


if __name__ == "__main__":
    Simulator._run = _run_and_keep_results
    Session._error_in_stderr = property(_says_error, lambda self, value: None)
    main()
