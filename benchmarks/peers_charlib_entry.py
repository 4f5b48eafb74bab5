"""CharLib 1.0.0 on PyPI's PySpice; run by the interpreter of CharLib's own virtual environment.

CharLib asks its simulator's analysis for the results of .meas lines by name. A fork of PySpice that PyPI does not
have puts them there; this does it for PyPI's PySpice, from the lines in which ngspice reports them.
"""

import re
from typing import Any

from charlib.characterizer.run import main  # type: ignore[import-not-found, unused-ignore]
from PySpice.Spice.NgSpice.Simulation import NgSpiceSharedCircuitSimulator as Simulator

_RESULT = re.compile(r"^(\w+)\s*=\s*([-+.\deE]+)\s+targ=", re.MULTILINE)
_run = Simulator._run


def _run_and_keep_results(self: Any, *args: Any, **kwargs: Any) -> Any:
    analysis = _run(self, *args, **kwargs)
    for name, value in _RESULT.findall(self.ngspice.stdout):
        analysis._internal_parameters[name] = float(value)
    return analysis


if __name__ == "__main__":
    Simulator._run = _run_and_keep_results
    main()
