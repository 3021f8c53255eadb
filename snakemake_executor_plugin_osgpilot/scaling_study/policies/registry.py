"""All rules by name, and the knobs each is tuned with. A choice of them is plain data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import product
from typing import Any, NamedTuple

from ...errors import InputError
from ...model.resources import PilotType, Policy
from ...scaling.planner.planner import plan
from ...scaling.ports import Planner
from .base import Rule
from .cobald import CobaldLinear
from .dask import DaskAdaptive
from .glideinwms import GlideinWMS
from .hyperqueue import HyperQueue
from .parsl import ParslHtex, ParslSimple
from .pyglidein import Pyglidein
from .static import Static
from .taskvine import TaskVineFactory
from .zslurm import Zslurm

OURS = "osgpilot"

RULES: Mapping[str, type[Rule]] = {
    "cobald": CobaldLinear,
    "dask": DaskAdaptive,
    "glideinwms": GlideinWMS,
    "hyperqueue": HyperQueue,
    "parsl-htex": ParslHtex,
    "parsl-simple": ParslSimple,
    "pyglidein": Pyglidein,
    "static": Static,
    "taskvine": TaskVineFactory,
    "zslurm": Zslurm,
}

KNOBS: Mapping[str, Mapping[str, tuple[Any, ...]]] = {
    "cobald": {"rate": (0.1, 0.5, 2.0)},
    "dask": {"target_s": (300.0, 900.0, 3600.0)},
    "glideinwms": {"attenuation": (1.0, 3.0)},
    "hyperqueue": {"backlog": (1, 10, 40)},
    "parsl-htex": {"parallelism": (0.3, 1.0), "cores_per_worker": (1, 4)},
    "parsl-simple": {"parallelism": (0.3, 1.0), "cores_per_worker": (1, 4)},
    "pyglidein": {"whole": (False, True), "max_idle": (20, 1000)},
    "static": {"pilots": (10, 20, 40, 80)},
    "taskvine": {"per_cycle": (5, 20)},
    "zslurm": {"share": (0.2, 1.0)},
}
"""The settings of its users, around each system's own default. All also choose pilots' shape and
walltime."""

WALLTIMES_S = (7200, 28_800)


class Choice(NamedTuple):
    """A rule and its knobs, by name. Without knobs, the rule's own defaults are meant."""

    rule: str
    knobs: tuple[tuple[str, Any], ...] = ()

    def planner(self, policy: Policy) -> Planner:
        """Return a planner that has seen nothing yet. Raises `InputError` for an unknown name."""
        if self.rule == OURS:
            return plan
        known = RULES.get(self.rule)
        if known is None:
            raise InputError(
                f"there is no policy {self.rule!r}; known are {', '.join((OURS, *RULES))}"
            )
        knobs = dict(self.knobs)
        offers = {offer.name: offer for offer in policy.offers}
        largest = max(policy.offers, key=lambda offer: offer.shape)
        offer = offers[knobs.pop("offer", largest.name)]
        return known(offer, knobs.pop("walltime_s", offer.walltime_max_s), **knobs)

    def __str__(self) -> str:
        return " ".join([self.rule, *(f"{name}={value}" for name, value in self.knobs)])


def grid(rule: str, offers: tuple[PilotType, ...]) -> Iterator[Choice]:
    """Return all choices for a rule, pilots of `offers`."""
    knobs = KNOBS[rule]
    lives = sorted({w for o in offers for w in o.walltimes_s if w in WALLTIMES_S})
    lives = lives or sorted({offer.walltime_max_s for offer in offers})
    for offer, walltime_s in product(offers, lives):
        for values in product(*knobs.values()):
            named = zip(knobs, values, strict=True)
            yield Choice(rule, (("offer", offer.name), ("walltime_s", walltime_s), *named))
