"""Which cell a tenant lives in, when there is more than one.

A cell is one scheduler group with its tenants and workers under one hash tag: one slot of a Redis
Cluster, or one server. More cells are more machines. Each tenant has one home, which every process
finds by itself, from the names of the cells alone: nothing is stored, so nothing can disagree.

Source: highest random weight hashing, Thaler & Ravishankar (1998); the weights after Schindelhauer
& Schomaker (SPAA'05). Every cell has a score for every tenant that no other cell has a part in, and
the highest wins. So a cell that goes moves its own tenants and no others, and one that comes takes
its share and moves nobody else. Cost: one hash per cell.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from math import log

from parallax.core.errors import InvalidInput
from parallax.core.hashing import BITS, point
from parallax.core.model import check_name, check_number

#: Asking all of them where a job is must stay cheap.
MOST_CELLS = 64
#: Bits of the hash that a float holds exactly, with the half that keeps it off 0 and 1.
_EXACT = 52
_FORM = f"NAME, NAME=URL or NAME:WEIGHT=URL for at most {MOST_CELLS} cells, with a comma between"
_SCHEMES = ("redis://", "rediss://", "unix://")


@dataclass(frozen=True, slots=True)
class CellAddress:
    """A cell, the server it is on ('' = the usual one), and its share of the tenants."""

    name: str
    url: str = ""
    weight: float = 1.0

    def __post_init__(self) -> None:
        check_name("cell", self.name)
        check_number(f"weight of cell {self.name}", self.weight, 1e-3, 1e3)


def home(tenant: str, cells: Mapping[str, float] | Collection[str]) -> str:
    """Return the cell that a tenant lives in; a mapping says which cell is due how many shares."""
    weights = cells if isinstance(cells, Mapping) else dict.fromkeys(cells, 1.0)
    if not weights:
        raise InvalidInput("cells", list(weights), "at least one cell")
    return max(weights, key=lambda cell: (_score(tenant, cell, weights[cell]), cell))


def _score(tenant: str, cell: str, weight: float) -> float:
    """Return a draw from an exponential of this rate, inverted: the likelier high, the heavier."""
    # Names have no '/', so no two pairs make the same text.
    share = ((point(f"{cell}/{tenant}") >> (BITS - _EXACT)) + 0.5) / 2**_EXACT
    return -weight / log(share)


def parsed_places(text: str, where: str = "--cells") -> tuple[CellAddress, ...]:
    """Read `a,b:2=redis://other-host:6379`; raises InvalidInput, without telling passwords."""
    parts = [part.strip() for part in text.split(",")]
    if len(parts) > MOST_CELLS:
        raise InvalidInput(where, f"{len(parts)} cells", _FORM)
    places: list[CellAddress] = []
    for number, part in enumerate(parts, 1):
        place = _place(f"{where}, cell {number}", part)
        if any(place.name == other.name for other in places):
            raise InvalidInput(where, place.name, "each cell may be named once")
        places.append(place)
    return tuple(places)


def _place(where: str, part: str) -> CellAddress:
    label, equals, url = part.partition("=")
    if "@" in label or (equals and not url.startswith(_SCHEMES)):
        # It may be the rest of a password with a comma in it.
        allowed = f"{_FORM}; URLs begin with {', '.join(_SCHEMES)}; write %2C for a comma in one"
        raise InvalidInput(where, "***", allowed)
    name, colon, weight = label.partition(":")
    check_name(where, name)
    try:
        return CellAddress(name, url, float(weight) if colon else 1.0)
    except ValueError:
        raise InvalidInput(f"{where}, weight", weight, "a number greater than 0") from None
