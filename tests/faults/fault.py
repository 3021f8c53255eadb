"""Faults, and the list of all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .world import Round, World

Act = Callable[[World], None]
PoolAct = Callable[[Round], None]

FAULTS: dict[str, Fault] = {}
"""All faults by name."""


def _nothing(world: World) -> None:
    pass


@dataclass(frozen=True)
class Fault:
    """One thing that breaks, and heals again.

    `prepare` is called for each workflow before its start. It happens when a part of the outputs,
    somewhere from `earliest` to `latest`, is there, or `from_start`. Either `act` does it to one
    workflow, at a moment of its own, or `pool_act` to the pool, and so to all of a round at once.
    `start_again`: Snakemake may end over it, and is started again until the workflow is done.
    `leaves_traces`: the pool shows it to who comes after, so the next round gets another one.
    """

    name: str
    sentence: str
    act: Act | None = None
    pool_act: PoolAct | None = None
    prepare: Act = _nothing
    earliest: float = 0.1
    latest: float = 0.6
    start_again: bool = False
    from_start: bool = False
    leaves_traces: bool = False


class NotStruckError(Exception):
    """The fault could not be made; the run tells nothing."""


def _named(function: Callable[..., None]) -> tuple[str, str]:
    name, sentence = function.__name__.replace("_", "-"), function.__doc__ or ""
    return name, " ".join(sentence.split())


def fault(*, prepare: Act = _nothing, **how: bool) -> Callable[[Act], Act]:
    """Put what breaks one workflow on the list of faults; the docstring says what happens."""

    def listed(act: Act) -> Act:
        name, sentence = _named(act)
        FAULTS[name] = Fault(name, sentence, act, None, prepare, **how)
        return act

    return listed


def pool_fault(*, prepare: Act = _nothing, **how: bool) -> Callable[[PoolAct], PoolAct]:
    """Put what breaks a pool on the list of faults; the docstring says what happens."""

    def listed(act: PoolAct) -> PoolAct:
        name, sentence = _named(act)
        # workflows are not in step: later, some would be over
        FAULTS[name] = Fault(name, sentence, None, act, prepare, latest=0.4, **how)
        return act

    return listed
