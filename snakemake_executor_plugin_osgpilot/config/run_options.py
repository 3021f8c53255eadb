"""Options of a run, checked, and the policy for the planner."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from ..errors import InputError
from ..jobs.state.bundling import TARGET_S
from ..jobs.state.submission import QUEUED_MAX
from ..model.identity import PilotSharing
from ..model.resources import Policy, SiteLimits
from .pilot_types import kinds
from .site import OwnLimits, Site
from .sites import site_files

if TYPE_CHECKING:
    from .settings import ExecutorSettings


BUNDLE_MAX_S = 3600
"""The results in a bundle come back at its end, and are lost if it is interrupted."""


@dataclass(frozen=True)
class Limits:
    """Limits set by the user; see the settings of the executor."""

    pilots_max: int
    pending_max: int
    cores_max: int | None
    core_h_max: float | None
    cost_weight: float
    queued_max: int = QUEUED_MAX

    def check(self) -> None:
        """Raise `InputError` that names the first invalid setting."""
        whole = {
            "max-pilots": self.pilots_max,
            "max-pending": self.pending_max,
            "max-queued": self.queued_max,
        }
        if self.cores_max is not None:
            whole["max-cores"] = self.cores_max
        for name, value in whole.items():
            if value < 1:
                raise InputError(f"--osgpilot-{name} is {value}; it has to be 1 or more")
        if self.core_h_max is not None and not 0 < self.core_h_max < math.inf:
            raise InputError(
                f"--osgpilot-max-core-hours is {self.core_h_max}; it has to be a number above 0"
            )
        if not 0 <= self.cost_weight <= 1:
            raise InputError(f"--osgpilot-cost-weight is {self.cost_weight}; it goes from 0 to 1")


@dataclass(frozen=True)
class RunOptions:
    """Options of a run. Pilots bind `shared_folders` of their node into jobs.

    `pilot_sharing` is whose jobs pilots accept; `on_exit` the action on Ctrl-C, see `run.shutdown`;
    `access_point` overrides the site file, see `htcondor.factory`; `notify` is where messages go;
    `bundle_s` is the time that a bundle should take, see `jobs.state.bundling`;
    inputs of `shared_least_bytes` or more are sent once to each pilot (None: none are).
    """

    project: str | None
    site_files: tuple[Path, ...]
    limits: Limits
    shared_folders: tuple[str, ...] = ()
    pilot_sharing: str | None = None
    on_exit: str = "cancel"
    access_point: str | None = None
    notify: str | None = None
    bundle_s: float = TARGET_S
    shared_least_bytes: int | None = None

    @property
    def whose(self) -> PilotSharing:
        """Whose jobs the pilots take. Raises `InputError`."""
        try:
            return PilotSharing(self.pilot_sharing or PilotSharing.WORKFLOW)
        except ValueError as error:
            known = ", ".join(PilotSharing)
            raise InputError(
                f"--osgpilot-pilot-sharing is {self.pilot_sharing!r}; it can be {known}"
            ) from error


def options_of(settings: ExecutorSettings) -> RunOptions:
    """Return the options of the executor's `settings`. Raises `InputError`."""
    return RunOptions(
        settings.project,
        site_files(settings.site),
        Limits(
            settings.max_pilots,
            settings.max_pending,
            settings.max_cores,
            settings.max_core_hours,
            settings.cost_weight,
            settings.max_queued,
        ),
        shared_prefixes(settings.shared_prefixes),
        settings.pilot_sharing,
        settings.on_exit,
        settings.access_point,
        settings.notify,
        _bundle_s(settings.bundle),
        shared_least_bytes(settings.shared_inputs),
    )


def _bundle_s(given: str | None) -> float:
    try:
        return bundle_target_s(given)
    except InputError as error:
        raise InputError(f"--osgpilot-bundle: {error}") from error


def policy_of(sites: Iterable[Site], limits: Limits) -> Policy:
    """Return the policy of the planner for these sites."""
    listed = tuple(sites)
    return Policy(
        offers=tuple(kind.offer for site in listed for kind in kinds(site)),
        pilots_max=limits.pilots_max,
        pending_max=limits.pending_max,
        cores_max=limits.cores_max,
        core_s_max=_core_s(limits.core_h_max),
        cost_weight=limits.cost_weight,
        site_limits=tuple(_limits_of(site) for site in listed if site.limits != OwnLimits()),
    )


def _limits_of(site: Site) -> SiteLimits:
    own = site.limits
    return SiteLimits(site.resource, own.max_pilots, own.max_cores, _core_s(own.max_core_hours))


def _core_s(core_h: float | None) -> float | None:
    return None if core_h is None else 3600 * core_h


def bundle_target_s(given: object) -> float:
    """Return the time that a bundle should take, 0 for none: `auto`, `off`, or seconds.

    Raises `InputError`.
    """
    text = str(given).strip().lower()
    if text in ("auto", "true", "none"):
        return TARGET_S
    if text in ("off", "false"):
        return 0.0
    try:
        target_s = float(text)
    except ValueError:
        target_s = math.nan
    if not 0 <= target_s <= BUNDLE_MAX_S:
        raise InputError(
            f"it is {given!r}; it can be auto, off, or seconds from 0 to {BUNDLE_MAX_S}"
        )
    return target_s


SHARED_LEAST_MB = 10
"""Least size of a shared input. On each pilot it costs a second or two, and a slot without cores;
10 MB take less than that on a slow link of 100 Mbit/s."""


def shared_least_bytes(given: str | None) -> int | None:
    """Return the least size of `--osgpilot-shared-inputs`, None if inputs are not shared.

    Raises `InputError`.
    """
    text = (given or "auto").strip()
    if text == "off":
        return None
    if text != "auto" and not re.fullmatch("[1-9][0-9]{0,9}", text):
        raise InputError(
            f"--osgpilot-shared-inputs is {text!r}: give a size in MB (1 or more), auto or off"
        )
    return (SHARED_LEAST_MB if text == "auto" else int(text)) * 1024 * 1024


_PREFIX = re.compile(r"(/[A-Za-z0-9_@+=.~-]+)+")


_OF_EACH_JOB = ("/tmp", "/var/tmp", "/dev", "/proc", "/sys")
"""Folders that are private to each container."""


def shared_prefixes(given: Iterable[str] | None) -> tuple[str, ...]:
    """Return the folders of `--osgpilot-shared-prefixes`. Raises `InputError`."""
    listed = [part.strip() for text in given or () for part in text.split(",")]
    prefixes = tuple(part.rstrip("/") for part in listed if part)
    for prefix in prefixes:
        if any(PurePosixPath(prefix).is_relative_to(own) for own in _OF_EACH_JOB):
            raise InputError(
                f"--osgpilot-shared-prefixes {prefix!r} cannot be used: every job has a "
                "private folder of that name; use another one"
            )
        if not _PREFIX.fullmatch(prefix) or ".." in PurePosixPath(prefix).parts:
            raise InputError(
                f"--osgpilot-shared-prefixes {prefix!r} cannot be used: give absolute paths of "
                "letters, digits and _ @ + = . ~ - other than /, separated by commas"
            )
    return prefixes
