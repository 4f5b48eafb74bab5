"""What an error may say of a confidential kit: words that stand in its pdk.toml, never words of its cards.

`himc pdk check PDK.toml --reveal` says the rest, on the owner's terminal; no copy of the kit is needed for that.
"""

from __future__ import annotations

from charlib.errors import BadInput

#: how the owner of a confidential kit sees what is withheld, without leaving any of it behind
SEE_IT = "'himc pdk check PDK.toml --reveal' shows it on this terminal only"


class NotInCards(BadInput):
    """The cards lack what pdk.toml names.

    told: the fault in the words of pdk.toml alone. field: of the corner, where one is at fault. device: the device's
    name in small letters, where that is lacking.
    """

    def __init__(self, message: str, told: str = "", *, field: str = "", device: str = "") -> None:
        super().__init__(message)
        self.told = told
        self.field = field
        self.device = device


class Withheld(BadInput):
    """Stands for an error that might quote a confidential kit."""


def withheld_error(kit: str, place: str, error: BadInput) -> Withheld:
    """What may be said of an error. place: the part of pdk.toml that it belongs to, "" where that is unknown."""
    if isinstance(error, NotInCards) and error.field:
        place = f"{place}.{error.field}"
    where = f"PDK '{kit}': {place}: " if place else f"PDK '{kit}': "
    if isinstance(error, NotInCards):
        return Withheld(f"{where}{error.told}; what they hold is withheld, since the kit is confidential: {SEE_IT}")
    what = "its netlist" if place.startswith("cells") else "its cards"
    return Withheld(f"{where}{what} cannot be used; why is withheld, since the kit is confidential: {SEE_IT}")
