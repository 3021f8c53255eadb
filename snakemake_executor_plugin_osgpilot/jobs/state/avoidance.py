"""Keep a job off the places on which it failed, as long as there are others."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

PLACES_MAX = 4
"""Number of places, the last on which a job failed, that it is kept off."""


class Place(NamedTuple):
    """A pilot and its node, by name; the node may be unknown."""

    pilot: str
    node: str = ""


def kept_off(failed_on: Iterable[Place], live: Iterable[Place]) -> tuple[str, ...]:
    """Return nodes, or else pilots, that a job must not run on, so that some of `live` are left.

    Pilots on one node share its faults. If nothing would be left, return nothing: a job that could
    run nowhere would wait.
    """
    failed_on, live = tuple(failed_on), tuple(live)
    nodes = dict.fromkeys(place.node or place.pilot for place in failed_on)
    if any(not {place.pilot, place.node} & nodes.keys() for place in live):
        return tuple(nodes)
    pilots = dict.fromkeys(place.pilot for place in failed_on)
    if any(place.pilot not in pilots for place in live):
        return tuple(pilots)
    return ()
