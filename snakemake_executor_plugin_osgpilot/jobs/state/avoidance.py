"""Where a job that failed is not to run next, as long as there are other places."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

PLACES_MAX = 4
"""A job is kept off so many of the places on which it failed last."""


class Place(NamedTuple):
    """A pilot and its node, by name; the node may not be known."""

    pilot: str
    node: str = ""


def kept_off(failed_on: Iterable[Place], live: Iterable[Place]) -> tuple[str, ...]:
    """Return nodes, or else pilots, that a job is not to run on, so that some of `live` are left.

    Pilots on one node share what is wrong with it. Where nothing would be left, nothing is
    returned: a job that could run nowhere would wait.
    """
    failed_on, live = tuple(failed_on), tuple(live)
    nodes = dict.fromkeys(place.node or place.pilot for place in failed_on)
    if any(not {place.pilot, place.node} & nodes.keys() for place in live):
        return tuple(nodes)
    pilots = dict.fromkeys(place.pilot for place in failed_on)
    if any(place.pilot not in pilots for place in live):
        return tuple(pilots)
    return ()
