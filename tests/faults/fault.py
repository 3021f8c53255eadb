"""What a fault is, and the list of all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .world import World

Act = Callable[[World], None]

FAULTS: dict[str, Fault] = {}
"""All faults by name."""


def _nothing(world: World) -> None:
    pass


@dataclass(frozen=True)
class Fault:
    """One thing that breaks. `act` does it and heals it; `prepare` is called before the start.

    It happens when a part of the outputs, somewhere from `earliest` to `latest`, is there.
    `start_again`: Snakemake may end over it, and is started again until the workflow is done.
    """

    name: str
    act: Act
    prepare: Act = _nothing
    earliest: float = 0.1
    latest: float = 0.6
    start_again: bool = False

    @property
    def sentence(self) -> str:
        """What happens, in a sentence."""
        return " ".join((self.act.__doc__ or "").split())


class NotStruckError(Exception):
    """The fault could not be made; the run tells nothing."""


def fault(
    *,
    prepare: Act = _nothing,
    moment: tuple[float, float] = (0.1, 0.6),
    start_again: bool = False,
) -> Callable[[Act], Act]:
    """Put a function on the list of faults; its docstring says in a sentence what happens."""

    def listed(act: Act) -> Act:
        name = act.__name__.replace("_", "-")
        FAULTS[name] = Fault(name, act, prepare, *moment, start_again)
        return act

    return listed
