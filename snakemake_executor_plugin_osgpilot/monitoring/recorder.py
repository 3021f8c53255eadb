"""Record the events of a run in its history."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

from ..common.redact import Redactor
from ..errors import OsgpilotError
from ..jobs.manager import JobManager
from ..jobs.state.events import CommandUsage
from ..jobs.state.job import Job
from ..jobs.state.view import View
from ..journal.location import Place
from ..journal.process import this_process
from ..model.clock import Clock
from ..model.identity import RunIdentity
from ..model.resources import Pilot, Policy
from ..pilots.fleet import Fleet
from ..scaling.autoscaler import Autoscaler, ScalingDecision
from ..scaling.planner.eta import Eta
from . import records as lines
from .history_file import History
from .line_check import Line
from .progress import StepCounter, Steps

WRITE_EVERY_S = 1.0
NUMBERS_EVERY_S = 60.0
"""Plans without a new decision are recorded at most this often, for their numbers."""


@dataclass
class HistoryRecorder:
    """Records one run. `handed_over`, `spent` and `failed` are called by Snakemake's threads, all
    else by the controller's. `redact` masks secrets.
    """

    history: History
    queue: JobManager
    fleet: Fleet
    scaling: Autoscaler
    clock: Clock
    redact: Redactor = field(default_factory=Redactor)
    steps: StepCounter = lambda: None
    _steps: Steps | None = None
    _ended: set[str] = field(default_factory=set)
    _pilots: dict[str, Pilot] = field(default_factory=dict)
    _planned: Line | None = None
    _planned_s: float = float("-inf")
    _written_s: float = float("-inf")

    def begin(
        self,
        seat: RunIdentity,
        policy: Policy,
        place: Place,
        about: Mapping[str, str] | None = None,
    ) -> None:
        """Record the start of a session: identity, location of jobs and pilots, limits, and what
        `about` says of the workflow.
        """
        limits = asdict(policy)
        for offer, plain in zip(policy.offers, limits["offers"], strict=True):
            plain["shape"] = offer.shape._asdict()
        self.history.put(
            [
                {
                    "kind": "life",
                    "version": lines.VERSION,
                    "at_s": self.clock.now_s(),
                    **asdict(seat),
                    "place": asdict(place),
                    "holder": asdict(this_process()),
                    "policy": limits,
                    "about": {name: self.redact(text) for name, text in (about or {}).items()},
                }
            ]
        )

    def handed_over(self, jobs: Iterable[lines.HandedOver], needed: Iterable[Line] = ()) -> None:
        """Record that Snakemake handed jobs over, each with its label, and their dependencies."""
        listed = list(jobs)
        self.history.put(
            [*lines.queued(listed, self.clock.now_s()), *lines.inputs(listed), *needed]
        )

    def spent(self, jobs: Mapping[str, CommandUsage]) -> None:
        """Record the resource usage of jobs, by key."""
        self.history.put(lines.spent(jobs))

    def failed(self, key: str, text: str, logs: Iterable[str] = ()) -> None:
        """Record why a job failed, as it is reported to the user, and the logs of its rule."""
        text = self.redact(text)[-lines.TEXT_MAX :]
        line = {"kind": "failed", "at_s": self.clock.now_s(), "job": key, "text": text}
        self.history.put([line | ({"logs": listed} if (listed := list(logs)) else {})])

    def ended(self, jobs: Iterable[Job]) -> None:
        """Record the ends of jobs that `follow` has not recorded yet; a kill may come before it.

        The journal is the one to fail if the disk is full: errors are left to `follow`.
        """
        new = [job for job in jobs if job.over and job.key not in self._ended]
        self._ended.update(job.key for job in new)
        self.history.put(lines.ended(new, self.clock.now_s(), self.redact))
        with suppress(OSError, OsgpilotError):
            self.history.flush()

    def again(self, key: str, why: str) -> None:
        """Record why a job of the previous session is resubmitted under this key."""
        self.history.put([{"kind": "again", "at_s": self.clock.now_s(), "job": key, "text": why}])

    def planned(self, view: View, decision: ScalingDecision) -> None:
        """Record the latest plan, if it has a new decision."""
        line = lines.plan(decision.plan, view.waiting, len(view.executing), view.upcoming)
        now_s = self.clock.now_s()
        changed = lines.differs(self._planned, line)
        if changed or now_s - self._planned_s >= NUMBERS_EVERY_S:
            self._planned, self._planned_s = line, now_s
            self._put_plan(line, decision.eta)

    def _put_plan(self, line: Line, eta: Eta | None) -> None:
        waits_s = {
            o.name: self.scaling.estimates.wait_s(o.name) for o in self.scaling.policy.offers
        }
        outlook = {
            "critical_path_s": self.queue.upcoming.critical_path_s,
            "waits_s": waits_s,
            "eta": eta and asdict(eta),
        }
        self.history.put([{**line, "at_s": self.clock.now_s(), **outlook}])

    def follow(self) -> None:
        """Record changes of jobs and pilots.

        Raises `OSError`; nothing is lost then. Raises `HistoryFullError` at the size limit.
        """
        now_s = self.clock.now_s()
        if now_s - self._written_s >= WRITE_EVERY_S:
            self._written_s = now_s
            self._follow(now_s)

    def _follow(self, now_s: float) -> None:
        changed = [job for job in self.queue.changes() if not (job.over and job.key in self._ended)]
        self._ended -= {job.key for job in changed}
        self._ended |= {job.key for job in changed if job.over}
        self.history.put(lines.moved(changed, now_s, self.redact))
        self._count()
        sent = {
            each: each.input_bytes or _size(each.image) for each in self.queue.take_images_sent()
        }
        self.history.put(lines.images(sent))
        self.history.put(lines.woken(self.queue.take_rematched(), now_s))
        known = self._pilots
        new = [pilot for pilot in self.fleet.pilots if known.get(pilot.name) is not pilot]
        seen = [lines.pilot(pilot) for pilot in new]
        before = {name: lines.pilot(known[name]) for name in (p.name for p in new) if name in known}
        self.history.put(line for line in seen if before.get(line["name"]) != line)
        self._pilots |= {pilot.name: pilot for pilot in new}
        self.history.flush()

    def _count(self) -> None:
        """Record Snakemake's count of its jobs if it changed."""
        steps = self.steps()
        if steps is not None and steps != self._steps:
            self._steps = steps
            self.history.put([lines.steps(steps)])

    def end(self, *, detached: bool, interrupted: bool = False, error: str = "") -> None:
        """Record the end of this session, and close the file.

        It is `detached` if the run keeps running, `interrupted` if the user stopped it. `error` is
        the error that stopped Snakemake, if one did.
        """
        now_s = self.clock.now_s()
        live = sum(not pilot.state.over for pilot in self.fleet.pilots)
        end = {"kind": "end", "at_s": now_s, "detached": detached, "live": live}
        end |= {"interrupted": interrupted, "to_come": self.queue.upcoming.to_come}
        if error:
            end["error"] = self.redact(error)[: lines.TEXT_MAX]
        end["critical_path_s"] = self.queue.upcoming.critical_path_s
        # the run has ended, whether or not its history can be written
        with suppress(OSError, OsgpilotError):
            self._follow(now_s)
        self.history.put([end])
        with suppress(OSError, OsgpilotError):
            self.history.close()


def _size(image: str) -> int:
    """Return the size of an image on this machine in bytes, else 0: one by URL is not sent from
    the access point.
    """
    try:
        return Path(image).stat().st_size
    except OSError:
        return 0
