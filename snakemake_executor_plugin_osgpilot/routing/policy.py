"""Choose where the jobs of a rule run: on OSPool pilots, as plain Slurm jobs, or on this machine.

This is decided once per rule from the whole workflow, so that it does not change during a run.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from ..model.resources import JobClass, Policy
from ..scaling.planner.estimates import BOOT_PRIOR_S, RUNTIME_PRIOR_S, WAIT_PRIOR_S
from ..scaling.planner.feasibility import fits, infeasible_classes
from ..staging.slurm_resources import UNTIED, Ties

CORES_MAX, MEMORY_MAX_MB, RUNTIME_MAX_S, INPUT_MAX_MB, GPUS_MAX = 8, 40960, 20 * 3600, 10240, 1
"""Limits of jobs that suit the OSPool: less than 8 cores, 40 GB, 20 h and 10 GB of files, one GPU
(OSPool documentation, "Is the OSPool for you?"; its guide for multicore jobs allows 8)."""

BOOT_SHARE_MAX = 0.1
"""A pilot pays off if at most this share of its core-hours is spent on its boot."""

LIMIT_SHARE = 0.5
"""Expected share of the `runtime` of a rule that a job takes, until one was measured."""

MANY_JOBS = 100
"""Number of jobs that justify pilots however short they are: each plain Slurm job costs a request
to Slurm, a wait in its queue and two starts of Snakemake."""


class Where(Enum):
    """The places where jobs run; messages show the values."""

    OSPOOL = "OSPool"
    SLURM = "Slurm"
    LOCAL = "local"


class Offload(Enum):
    """The setting for rules without the resource `ospool`."""

    AUTO = "auto"
    ALWAYS = "always"
    NEVER = "never"


class Hint(Enum):
    """The value of a rule's resource `ospool`."""

    YES = "ospool=True"
    NO = "ospool=False"
    AUTO = "ospool=auto"


@dataclass(frozen=True)
class RuleFacts:
    """Facts about a rule, or about grouped rules, from the whole workflow.

    `jobs` still have to run, `classes` are their requests. `core_s` is their expected total in
    core-seconds, `seen` if it was measured. `runtime_s` and `input_mb` are the maximum over the
    jobs, `tied_to` names a resource that only HTCondor supports, `slurm` what only Slurm can grant.
    """

    jobs: int
    classes: frozenset[JobClass]
    core_s: float
    runtime_s: int = 0
    input_mb: float = 0.0
    tied_to: str = ""
    hint: Hint | None = None
    seen: bool = False
    slurm: Ties = UNTIED


@dataclass(frozen=True)
class Ways:
    """Routes that user and site allow.

    `fallback` is where jobs run that do not go to the OSPool, None if nowhere. Unless it
    `takes_any`, it takes only rules with `ospool=False`. `local_cores` are the cores of this
    machine, `constraint` is the features of nodes that all pilots have asked Slurm for.
    """

    policy: Policy
    offload: Offload = Offload.ALWAYS
    fallback: Where | None = None
    takes_any: bool = True
    local_cores: int = 1
    constraint: str = ""


@dataclass(frozen=True)
class Route:
    """The place where a rule's jobs run, and the reason, with numbers; `where` is None if they
    cannot run.
    """

    where: Where | None
    reason: str


def expected_core_s(job_class: JobClass, runtime_s: int) -> float:
    """Return the expected core-seconds of a job of an unmeasured rule: half of its `runtime`."""
    return (LIMIT_SHARE * runtime_s or RUNTIME_PRIOR_S) * job_class.shape.cores


def route(rule: RuleFacts, ways: Ways) -> Route:
    """Return where the jobs of `rule` go. A hint has priority: it is followed or rejected."""
    if rule.hint is Hint.NO:
        return _elsewhere(rule, ways, "it sets ospool=False")
    if rule.hint is None and ways.offload is Offload.NEVER:
        return _elsewhere(rule, ways, "--osgpilot-offload never")
    if rule.slurm.needs:
        return _on_slurm_alone(rule, ways)
    if rule.slurm.wishes and _may_have_wishes(rule, ways):
        return Route(ways.fallback, f"for its {_listed(rule.slurm.wishes)}; {work(rule)}")
    if misfits := infeasible_classes(rule.classes, ways.policy):
        return _without_pilot(rule, ways, misfits[0].reason)
    detected = rule.hint is Hint.AUTO or (rule.hint is None and ways.offload is Offload.AUTO)
    may_choose = detected and ways.fallback and ways.takes_any and not rule.tied_to
    if may_choose and (why := _too_much(rule) or _too_little(rule, ways)):
        return Route(ways.fallback, why)
    hint = "; it sets ospool=True" if rule.hint is Hint.YES else ""
    tied = f"; for its {rule.tied_to}" if detected and rule.tied_to else ""
    return Route(Where.OSPOOL, work(rule) + hint + tied + _without(rule.slurm))


def work(rule: RuleFacts) -> str:
    """Return the amount of work as text; "up to" if only a limit is known."""
    jobs = f"{rule.jobs:,} job{'s' * (rule.jobs != 1)}"
    if rule.seen:
        return f"{jobs}, {'about ' * (rule.core_s >= 36)}{_hours(rule.core_s)}"
    if rule.runtime_s:
        return f"{jobs}, up to {_hours(rule.core_s / LIMIT_SHARE)}"
    return f"{jobs} without `runtime`"


def _hours(core_s: float) -> str:
    core_h = core_s / 3600
    few = f"{core_h:.2g}" if core_h >= 0.01 else "less than 0.01"
    number = f"{core_h:,.0f}" if core_h >= 10 else few
    return f"{number} core-hour{'s' * (number != '1')}"


def _on_slurm_alone(rule: RuleFacts, ways: Ways) -> Route:
    """Return the route of a rule whose jobs run as several processes, which Slurm starts."""
    needs = f"only plain Slurm jobs can have its {_listed(rule.slurm.needs)}"
    if rule.hint is Hint.YES:
        return Route(None, f"it sets ospool=True, but {needs}")
    if rule.tied_to:
        return Route(
            None,
            f"{needs}, and only pilots its {rule.tied_to}: set ospool=False to run it without "
            f"{rule.tied_to}",
        )
    if ways.fallback is None:
        return Route(
            None,
            f"{needs}, but --osgpilot-fallback none allows only the OSPool",
        )
    if not ways.takes_any:
        return Route(
            None,
            f"{needs}; install snakemake-executor-plugin-slurm, or set ospool=False to run it on "
            "this machine",
        )
    return Route(ways.fallback, f"for its {_listed(rule.slurm.needs)}; {work(rule)}")


def _may_have_wishes(rule: RuleFacts, ways: Ways) -> bool:
    is_free = rule.hint is not Hint.YES and not rule.tied_to
    return is_free and ways.fallback is Where.SLURM and ways.takes_any


def _without(slurm: Ties) -> str:
    """Return which resources of a rule have no effect on pilots, as the end of a reason."""
    ignored = slurm.wishes + slurm.queues
    return f"; without its {_listed(ignored)}, for plain Slurm jobs alone" if ignored else ""


def _listed(names: tuple[str, ...]) -> str:
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def _elsewhere(rule: RuleFacts, ways: Ways, why: str) -> Route:
    if ways.fallback is None:
        return Route(None, f"{why}, but --osgpilot-fallback none allows only the OSPool")
    ignored = f"; without its {rule.tied_to}, which is for pilots" if rule.tied_to else ""
    return Route(ways.fallback, f"{why}; {work(rule)}{ignored}")


def _without_pilot(rule: RuleFacts, ways: Ways, misfit: str) -> Route:
    """Return the route of a rule that no pilot can run."""
    if rule.hint is Hint.YES:
        return Route(None, f"it sets ospool=True, but no pilot can run it: {misfit}")
    if ways.fallback is None:
        return Route(None, f"no pilot can run it: {misfit}")
    if not ways.takes_any:
        return Route(
            None,
            f"no pilot can run it: {misfit}; install snakemake-executor-plugin-slurm to run it "
            "as plain Slurm jobs, or set ospool=False to run it on this machine",
        )
    if rule.tied_to:
        return Route(
            None,
            f"no pilot can run it: {misfit}; it has {rule.tied_to}, which is for pilots: set "
            "ospool=False to run it without",
        )
    return Route(ways.fallback, f"no pilot can run it: {misfit}")


def _too_much(rule: RuleFacts) -> str:
    """Return which resources of the jobs exceed the limits of the OSPool, empty if none."""
    shapes = [job_class.shape for job_class in rule.classes]
    sizes = (
        (max(shape.cores for shape in shapes), CORES_MAX, "cores"),
        (max(shape.memory_mb for shape in shapes), MEMORY_MAX_MB, "MB of memory"),
        (rule.runtime_s / 3600, RUNTIME_MAX_S / 3600, "hours"),
        (rule.input_mb, INPUT_MAX_MB, "MB of input"),
        (max(shape.gpus for shape in shapes), GPUS_MAX, "GPUs"),
    )
    over = [f"{has:.0f} {what} (up to {most:.0f})" for has, most, what in sizes if has > most]
    return f"more than suits the OSPool: {', '.join(over)}" if over else ""


def _too_little(rule: RuleFacts, ways: Ways) -> str:
    """Return why pilots would not pay off compared with the fallback, empty if they do."""
    reckoned = work(rule) if rule.seen else f"{work(rule)}, taken for {_hours(rule.core_s)}"
    if ways.fallback is Where.LOCAL:
        here_s, lead_s = rule.core_s / ways.local_cores, WAIT_PRIOR_S + BOOT_PRIOR_S
        if here_s < lead_s:
            here, lead = f"{here_s / 60:.0f} min", f"{lead_s / 60:.0f} min"
            return f"{reckoned}; done here in {here}, a pilot takes {lead} to come"
        return ""
    policy = ways.policy
    able = [o for o in policy.offers if all(fits(c, o, policy) for c in rule.classes)]
    pilot_cores = min(offer.shape.cores for offer in able or policy.offers)
    pays_s = BOOT_PRIOR_S * pilot_cores / BOOT_SHARE_MAX
    if rule.jobs >= MANY_JOBS or rule.core_s >= pays_s:
        return ""
    return (
        f"{reckoned}; pilots pay from {MANY_JOBS} jobs or {pays_s / 3600:.2g} core-hours "
        f"({pilot_cores} cores that boot)"
    )
