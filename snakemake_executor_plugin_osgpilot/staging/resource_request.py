"""Translate the resources of a Snakemake job into a request to HTCondor."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from ..common.messages import Messages
from ..common.snakemake_compat import is_default_expression
from ..common.snakemake_types import AnyJob, SingleJob
from ..errors import InputError
from ..htcondor.raw_submit_commands import ATTRIBUTE, COMMAND, attribute, submit_command
from ..htcondor.submit_description import (
    CATEGORY_HOURS,
    claimed_memory_mb,
    duration_category,
    needed_life_s,
    require_gpus,
)
from ..model.resources import JobClass, PilotType, Policy, Request, Shape
from .container_image import Image
from .early_values import resources_of, threads_of, values_of
from .payload import label, members, unknown
from .rule_resources import DEFAULTS_MB, PARTITION, PILOT_CORES, check_names, meant
from .s3_keys import Lines
from .slurm_resources import Amounts, amounts

REMEMBERED_MAX = 1000
"""Requests are kept for this many combinations of values: they may differ from job to job."""

NAMED_RULES = 5
"""At most so many rules are named in a line about their defaults."""


@dataclass
class Requests:
    """Turns the jobs of one workflow into requests; equal ones are one object.

    `policy` has the pilot types. Defaults and possible problems are reported once per rule.
    """

    policy: Policy
    messages: Messages
    _known: dict[Request, Request] = field(default_factory=dict)
    _by_values: dict[Hashable, Request] = field(default_factory=dict)
    _said: set[tuple[str, str]] = field(default_factory=set)
    _silent: dict[str, list[str]] = field(default_factory=dict)
    """Rules that leave a resource out and are not reported yet."""
    _gathers: bool = False

    @contextmanager
    def gathering(self) -> Iterator[None]:
        """Report the defaults of all rules that are met meanwhile in one line for each resource."""
        self._gathers = True
        try:
            yield
        finally:
            self._gathers = False
            self._report_defaults()

    def of(self, job: AnyJob, image: Image, lines: Lines = ()) -> Request:
        """Return the request of `job`, or group job. Raises `InputError` naming rule and resource.

        Memory, disk, GPUs and runtime of a group are Snakemake's sums; extras and images must be
        the same for all members that set them. `lines` are added to the extras.
        """
        if job.is_group():
            return self._made_for(job, image, lines)
        single = members(job)[0]
        asked = (
            *(str(single.rule), threads_of(job), bool(single.input), image, lines),
            values_of(resources_of(job)),
        )
        try:
            known = self._by_values.get(asked)
        except TypeError:
            # a value that cannot be hashed, such as a list
            return self._made_for(job, image, lines)
        if known is None:
            if len(self._by_values) >= REMEMBERED_MAX:
                self._by_values.clear()
            known = self._by_values[asked] = self._made_for(job, image, lines)
        return known

    def _made_for(self, job: AnyJob, image: Image, lines: Lines) -> Request:
        who = label(job)
        self._warn_of_typos(members(job))
        gpus = _whole(who, resources_of(job), "gpu")
        slurm = _slurm_amounts(who, job, gpus)
        cores, gpus = max(1, threads_of(job), slurm.cores), gpus or slurm.gpus
        memory_mb = slurm.memory_per_core_mb * cores or self._sized(job, "mem_mb")
        disk_mb = self._sized(job, "disk_mb") + image.size_mb
        runtime_s = 60 * _whole(who, resources_of(job), "runtime")
        offers = pinned(who, members(job), self.policy.offers)
        life_s = needed_life_s(runtime_s, self._pilot_life_s(offers))
        self._check_duration(who, runtime_s, life_s)
        shape = Shape(cores, claimed_memory_mb(memory_mb), disk_mb, gpus)
        model, manufacturer = _gpu_kind(who, resources_of(job), gpus, slurm.gpu_model)
        request = Request(
            JobClass(shape, life_s, offers),
            image.name,
            image.transferred,
            model,
            manufacturer,
            _extras(who, members(job)) + lines,
        )
        return self._known.setdefault(request, request)

    def _pilot_life_s(self, offers: tuple[str, ...]) -> int:
        """Return the longest life of a new pilot of one of these offers, of any if none."""
        lives_s = (
            offer.walltime_max_s
            for offer in self.policy.offers
            if not offers or offer.name in offers
        )
        return max(lives_s) - self.policy.life_taken_s

    def _sized(self, job: AnyJob, name: str) -> int:
        value, default = _whole(label(job), resources_of(job), name), DEFAULTS_MB[name]
        silent = [part for part in members(job) if not _sets(part, name)]
        for part in silent:
            if not unknown(resources_of(part).get(name)):
                self._note(part.rule.name, name)
        return default if len(silent) == len(members(job)) else value

    def _note(self, rule: str, name: str) -> None:
        if (rule, name) not in self._said:
            self._said.add((rule, name))
            self._silent.setdefault(name, []).append(rule)
            if not self._gathers:
                self._report_defaults()

    def _report_defaults(self) -> None:
        for name, rules in self._silent.items():
            kind = "memory" if name == "mem_mb" else "disk"
            who = f"rule {rules[0]} has" if len(rules) == 1 else f"{_listed(rules)} have"
            self.messages.info(f"{who} no `{name}`: {DEFAULTS_MB[name]} MB of {kind} assumed")
        self._silent.clear()

    def _warn_of_typos(self, parts: list[SingleJob]) -> None:
        for part in parts:
            for name in dict(resources_of(part).items()):
                near = meant(name)
                if near and (part.rule.name, name) not in self._said:
                    self._said.add((part.rule.name, name))
                    self.messages.warning(
                        f"rule {part.rule.name}: the resource {name} has no effect here; "
                        f"did you mean {near}?"
                    )

    def _check_duration(self, who: str, runtime_s: int, life_s: int) -> None:
        hours = CATEGORY_HOURS[duration_category(life_s)]
        if runtime_s > hours * 3600 and (who, "runtime") not in self._said:
            self._said.add((who, "runtime"))
            self.messages.warning(
                f"{who} may run for {runtime_s / 3600:.0f} h, but access points of the OSG hold "
                f"such jobs after {hours} h"
            )


def _listed(rules: list[str]) -> str:
    """Return the names of several rules, the first ones of many."""
    if len(rules) > NAMED_RULES:
        return f"{len(rules)} rules ({', '.join(rules[:NAMED_RULES])}, …)"
    return f"rules {', '.join(rules[:-1])} and {rules[-1]}"


def pinned(who: str, parts: Iterable[SingleJob], offers: tuple[PilotType, ...]) -> tuple[str, ...]:
    """Return the names of the offers that a job (`parts`: its members) wants, none if any will do.

    An offer's name is PARTITION/CORESc, of several sites SITE:PARTITION/CORESc, where the partition
    may be named alone. All members of a group that name one name the same. Raises `InputError`
    naming job and resource, with what there is instead.
    """
    names = [offer.name for offer in offers]
    wanted = False
    asked = [resources_of(part) for part in parts]
    for resource, half in ((PARTITION, 0), (PILOT_CORES, 1)):
        for value in (resources.get(resource) for resources in asked):
            if value in (None, "") or unknown(value):
                continue
            left = [name for name in names if str(value) in _known_as(_halves(name)[half])]
            if not left:
                known = ", ".join(dict.fromkeys(_halves(name)[half] for name in names))
                raise InputError(
                    f"{who}: the resource {resource} is {value!r}; {_choices_of(resource, known)}"
                )
            names, wanted = left, True
    return tuple(names) if wanted else ()


def _halves(name: str) -> tuple[str, str]:
    """Return partition and cores of the offer `name`."""
    partition, _, cores = name.rpartition("/")
    return partition, cores.removesuffix("c")


def _known_as(half: str) -> tuple[str, str]:
    """Return the names of a partition: its own, and that without its site."""
    return half, half.partition(":")[2]


def _choices_of(resource: str, known: str) -> str:
    if resource == PARTITION:
        return f"the partitions of the site file are {known}"
    return f"pilots that it could run on have {known} cores"


def _whole(who: str, resources: Mapping[str, object], name: str) -> int:
    """Return the amount, 0 if the rule does not set it or it is not known yet."""
    value = resources.get(name)
    if value is None or unknown(value):
        return 0
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
        raise InputError(
            f"{who}: the resource {name} is {value!r}; it has to be a number, 0 or more"
        )
    return math.ceil(value)


def _sets(job: SingleJob, name: str) -> bool:
    """Return True if user or rule set the resource, not Snakemake by its own formula.

    Without --default-resources, Snakemake derives memory and disk from the size of the inputs, and
    uses constants if these are small or there are none (snakemake.resources, Resources.DEFAULTS).
    """
    value = resources_of(job).get(name)
    if not value or unknown(value):
        return False
    declared = (getattr(job.rule, "resources", None) or {}).get(name)
    if not is_default_expression(declared):
        return True
    return bool(value != (50000 if name == "disk_mb" and not job.input else 1000))


def _slurm_amounts(who: str, job: AnyJob, gpus: int) -> Amounts:
    """Return what a job asks for in the words of the Slurm plugin.

    Snakemake adds up the cores of a group; memory for each core is the most of any member.
    """
    known = known_resources(job)
    per_core = [known_resources(part).get("mem_mb_per_cpu") for part in members(job)]
    if len(per_core) > 1:
        most = max((each for each in per_core if isinstance(each, int | float)), default=0)
        known["mem_mb_per_cpu"] = most
    return amounts(who, known, gpus)


def rule_memory_mb(job: AnyJob) -> int | None:
    """Return the memory that a job's rule names (of a group, Snakemake's sum), None if none."""
    memory_mb = known_resources(job).get("mem_mb")
    return memory_mb if type(memory_mb) is int else None


def known_resources(job: AnyJob) -> dict[str, Any]:
    """Return the resources of a job whose values are known already."""
    return {name: value for name, value in resources_of(job).items() if not unknown(value)}


def _gpu_kind(who: str, resources: Mapping[str, object], gpus: int, model: str) -> tuple[str, str]:
    """Return model and manufacturer of the GPUs; `model` is that of `gres`."""
    kind = {}
    for name, other in (("gpu_model", model), ("gpu_manufacturer", "")):
        value = resources.get(name) or other
        kind[name] = "" if value is None or unknown(value) else str(value)
        try:
            require_gpus(**{name.removeprefix("gpu_"): kind[name]})
        except InputError as error:
            raise InputError(f"{who}: the resource {name} is {value!r}: {error}") from error
    if any(kind.values()) and not gpus:
        raise InputError(f"{who}: the resource gpu_model needs `gpu`, how many of them")
    return kind["gpu_model"], kind["gpu_manufacturer"]


def _extras(who: str, parts: list[SingleJob]) -> tuple[tuple[str, str], ...]:
    """Return the checked lines for `htcondor_…` and `classad_…`.

    They come from the members: Snakemake adds up the resources of a group.
    """
    lines: dict[str, tuple[str, str]] = {}
    for part in parts:
        resources = resources_of(part)
        check_names(who, resources.keys())
        for name, value in resources.items():
            if not name.startswith((COMMAND, ATTRIBUTE)) or unknown(value):
                continue
            try:
                make = submit_command if name.startswith(COMMAND) else attribute
                plain = value if isinstance(value, int | float) else str(value)
                line = make(name.partition("_")[2], plain)
            except InputError as error:
                raise InputError(f"{who}: the resource {name} is {value!r}: {error}") from error
            if lines.setdefault(line[0].lower(), line) != line:
                raise InputError(f"{who}: the resource {name} is given twice, and not the same")
    return tuple(sorted(lines.values()))
