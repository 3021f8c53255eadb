"""Control loop of a run: observe, advance, plan, act. One thread for jobs, one for pilots.

A Slurm command that hangs blocks for a minute; jobs that finish meanwhile are still reported.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextvars import copy_context
from traceback import extract_tb

from ..common.counting import count_of
from ..errors import OsgpilotError, OutcomeUnknownError
from ..jobs.manager import JobManager
from ..jobs.state.start_failures import START_FAILURE_LIMIT
from ..model.clock import Clock
from ..model.intervals import poll_delay_s
from ..model.plan import Plan
from ..model.resources import JobClass, Pilot, PilotState
from ..monitoring.progress import Progress, pilots_by_state
from ..pilots.fleet import Fleet
from ..pilots.state.circuit_breaker import DOUBT
from ..pilots.state.lifecycle import StateChange
from ..scaling.autoscaler import Autoscaler
from .ports import Display, LeaseWriter, Recorder

logger = logging.getLogger(__name__)

TICK_S = 0.5

PATIENCE_S = 5.0
"""Time that `stop` waits for a pending request: one to an access point that hangs takes minutes."""

PASSING_RULES = ("launches_max", DOUBT, START_FAILURE_LIMIT)
"""Rules that are not logged: they hold pilots back briefly, or are reported elsewhere."""

FOR_PERSONS = ("breaker", "budget")
"""Rules that hold pilots back until somebody does something."""

REMOVAL_LOOKS, REMOVAL_PAUSE_S = 10, 0.5


class RunController:
    """Runs ticks in its own threads until `close`; these never raise.

    `queue` and `news` are thread-safe; only the pilots thread uses the fleet, the plan and the
    lease, except that the jobs thread reads the list of pilots.
    """

    def __init__(
        self, queue: JobManager, fleet: Fleet, scaling: Autoscaler, lease: LeaseWriter,
        clock: Clock, recorder: Recorder | None = None, display: Display | None = None,
    ) -> None:  # fmt: skip
        self._queue, self._fleet, self._scaling, self._lease = queue, fleet, scaling, lease
        self._clock, self._recorder, self._display = clock, recorder, display
        self._looked_s, self._look_soon = float("-inf"), False
        self._idle = self._unsupported = frozenset[str]()
        self._suspects = 0
        self._silent: dict[str, str] = {}
        self._refused: dict[str, str] = {}
        self._stopped: set[str] = set()
        self._bugs: set[tuple[str, str]] = set()
        self._wake = threading.Event()
        self._closing = threading.Event()
        self._pause = threading.Event()
        self.news = threading.Event()
        self._look_due = threading.Event()
        self._threads = [
            _thread(self._jobs_loop, "osgpilot-jobs"),
            _thread(self._pilots_loop, "osgpilot-pilots"),
        ]

    def restore(self, pilots: Iterable[Pilot]) -> None:
        """Restore the pilots of a previous session of the run.

        That session may have seen some of them end without resubmitting their jobs.
        """
        self._fleet.restore(pilots)
        for pilot in self._fleet.pilots:
            if pilot.state.over:
                self._queue.pilot_ended(pilot.name, pilot.since_s, vanished=False)

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def wake(self) -> None:
        """Run the next tick at once; called when jobs were added."""
        self._wake.set()

    def stop(self, *, hurry: bool = False) -> None:
        """Stop both threads; jobs and pilots stay as they are.

        If `hurry`, wait at most PATIENCE_S for a running Slurm command.
        """
        self._closing.set()
        self._wake.set()
        self._look_due.set()
        running = [thread for thread in self._threads if thread.is_alive()]
        for thread in running:
            thread.join(PATIENCE_S)
        if any(thread.is_alive() for thread in running):
            self._queue.interrupt()
        for thread in running:
            while hurry and thread.is_alive():
                self._fleet.interrupt()
                thread.join(REMOVAL_PAUSE_S)
            thread.join()

    def close(self, *, hurry: bool = False) -> bool:
        """Stop both threads, remove the jobs of this run, end its pilots, write the record.

        Return True if nothing is left.
        """
        self.stop(hurry=hurry)
        unfinished = self._queue.any_left() or self._came_back()
        if unfinished:
            self._attempt("remove the jobs of this run", self._remove_jobs)
        if self._fleet.live:
            logger.info(f"ending {count_of(len(self._fleet.live), 'pilot')}")
        over = self._attempt("end the pilots", self._end_pilots)
        if unfinished:
            over &= self._attempt("empty the queue", self._queue_emptied)
        self._attempt("remove images from the access point", self._queue.clear)
        self._attempt("write the record", self._lease.write)
        return over

    def _came_back(self) -> bool:
        """Return True if the queue has, or may have, jobs that already ended.

        A schedd that is killed after it wrote a job's last event and before it updated its own
        state runs the job again when it restarts.
        """
        try:
            return self._queue.span_s() is not None and self._queue.remaining() > 0
        except OsgpilotError:
            return True

    def _remove_jobs(self) -> None:
        """Remove all jobs, and let the pilots confirm that before they shut down.

        A pilot that shuts down while its jobs are being removed may wait for them until its end.
        """
        self._queue.remove_all()
        for _ in range(REMOVAL_LOOKS):
            if not self._queue.remaining():
                return
            self._pause.wait(REMOVAL_PAUSE_S)

    def _end_pilots(self) -> None:
        self._fleet.end()
        if left := [pilot.allocation_id for pilot in self._fleet.live]:
            logger.info(
                f"{count_of(len(left), 'pilot')} will end when the jobs of others there have "
                f"finished (in Slurm: {', '.join(left)})"
            )

    def _queue_emptied(self) -> None:
        if self._queue.remaining():
            self._queue.force_remove()
        if self._queue.remaining():
            raise OutcomeUnknownError(
                f"jobs are still in the queue; remove them with: {self._queue.removal_hint}"
            )

    def _jobs_loop(self) -> None:
        while not self._closing.is_set():
            self._safely(self.reconcile_jobs)
            self._safely(self._keep_informed)
            if self._is_look_due():
                self._look_due.set()
            self._wake.wait(TICK_S)
            self._wake.clear()

    def _pilots_loop(self) -> None:
        while self._look_due.wait() and not self._closing.is_set():
            # what was due before the last look may not be due any more
            self._look_due.clear()
            if self._is_look_due():
                self._safely(self.reconcile_pilots)

    def _safely(self, act: Callable[[], None]) -> None:
        try:
            act()
        except Exception as error:
            # a bug must not end the thread: the jobs would wait without end
            self._tell_bug(error)

    def _tell_bug(self, error: Exception) -> None:
        """Report a bug once for each place in the code; the text may differ each time."""
        at = extract_tb(error.__traceback__)[-1]
        kind, place = type(error).__name__, f"{at.filename.rpartition('/')[2]}:{at.lineno}"
        if (kind, place) not in self._bugs:
            self._bugs.add((kind, place))
            logger.warning(
                f"internal error, continuing: {kind}: {error} ({place}); please report it (shown "
                "once)"
            )

    def tick(self) -> None:
        """Run one step of both loops."""
        self.reconcile_jobs()
        if self._is_look_due():
            self.reconcile_pilots()
        self._keep_informed()

    def reconcile_jobs(self) -> None:
        """Submit jobs, follow the event log, recover jobs in trouble."""
        self._attempt("submit jobs", self._send)
        if self._attempt("read the event log", self._queue.follow):
            self._attempt("recover held or lost jobs", self._recover_jobs)
        self._signal_news()
        self._note_idle()
        self._note_suspects()

    def _keep_informed(self) -> None:
        if self._recorder:
            self._attempt("write the history of the run", self._recorder.follow)
        if self._display:
            self._display.show(self.progress())

    def _call_person(self, why: str) -> None:
        if self._display:
            self._display.call_person(why)

    def _is_look_due(self) -> bool:
        age_s = self._clock.now_s() - self._looked_s
        return age_s >= poll_delay_s(soon=self._look_soon, live=bool(self._fleet.live))

    def reconcile_pilots(self) -> None:
        """Query Slurm, plan, act; then renew the lease and write the record."""
        self._look_soon = False
        self._looked_s = self._clock.now_s()
        self._attempt("manage the pilots", self._scale)
        self._attempt("renew the lease", self._lease.keep_alive)
        self._attempt("write the record", self._lease.write)

    def _send(self) -> None:
        self._queue.set_shapes(pilot.shape for pilot in self._fleet.live)
        if self._queue.send():
            self._look_soon = True

    def _recover_jobs(self) -> None:
        for notice in self._queue.notices():
            logger.info(notice)
        self._queue.repair(self._clock.now_s())

    def _note_idle(self) -> None:
        """Request a look soon when a pilot ran out of work and no job waits for it."""
        ready = {p.name for p in self._fleet.live if p.state is PilotState.READY}
        idle = frozenset(ready - self._queue.busy_pilots()) if ready else frozenset()
        if idle - self._idle and self._queue.is_quiet():
            self._look_soon = True
        self._idle = idle

    def _note_suspects(self) -> None:
        """Request a look soon when a pilot makes jobs fail; jobs avoid it at once."""
        if len(self._queue.suspects) > self._suspects:
            self._suspects = len(self._queue.suspects)
            self._look_soon = True

    def _scale(self) -> None:
        view = self._queue.view()
        try:
            decision = self._scaling.step(view)
        finally:
            # the end of a pilot counts even if planning fails
            for change in self._fleet.changes():
                self._report_change(change)
        self._queue.set_capacity(decision.capacity)
        if self._recorder:
            self._recorder.planned(view, decision)
        self._fail_waiting(decision.infeasible)
        self._report_plan(decision.plan)
        self._report_unsupported(decision.unsupported_schemes)
        self._look_soon |= decision.plan.throttled
        # before the pilots get their signals, which takes seconds
        self._queue.avoid_pilots(decision.avoid)
        self._fleet.apply(decision.plan)
        self._fail_waiting(self._scaling.unschedulable(view.waiting))
        self._signal_news()

    def _fail_waiting(self, reasons: Mapping[JobClass, str]) -> None:
        for job_class, reason in reasons.items():
            self._queue.fail_waiting([job_class], reason)

    def _report_change(self, change: StateChange) -> None:
        pilot = change.after
        where = f" at {pilot.site}" if len(self._scaling.policy.sites) > 1 else ""
        where += f" on {pilot.node}" if pilot.node else ""
        why = f" ({pilot.failure})" if pilot.failure else ""
        logger.info(f"pilot {pilot.allocation_id}{where}: {pilot.state.value}{why}")
        if pilot.state.over:
            vanished = pilot.started_s is not None and pilot.state is not PilotState.DONE
            self._queue.pilot_ended(pilot.name, self._clock.now_s(), vanished=vanished)

    def _report_plan(self, plan: Plan) -> None:
        """Log the actions, and each rule that limits pilots when it begins to."""
        actions = Counter((type(action).__name__.lower(), action.reason) for action in plan.actions)
        for (verb, reason), number in actions.items():
            logger.info(f"{verb} {count_of(number, 'pilot')}: {reason}")
        refused = {r.rule: r.reason for r in plan.refusals if r.rule not in PASSING_RULES}
        for rule, reason in refused.items():
            if rule not in self._refused:
                level = logging.WARNING if rule == "breaker" else logging.INFO
                logger.log(level, f"no more pilots for now: {reason}")
        self._refused = refused
        stopped = {r for r in FOR_PERSONS if r in refused and not self._fleet.live}
        for rule in sorted(stopped - self._stopped):
            self._call_person(f"no pilot is there and none is started: {refused[rule]}")
        self._stopped = stopped

    def _report_unsupported(self, schemes: frozenset[str]) -> None:
        for scheme in sorted(schemes - self._unsupported):
            logger.warning(
                f"no pilot can fetch {scheme}:// inputs or images, their HTCondor has no plugin "
                f"for it, and jobs with these wait: leave {scheme} out of --osgpilot-url-schemes "
                "for Snakemake to fetch inputs, name a container image by another URL (or see "
                "`osgpilot software forget`), or use an image for pilots that has the plugin"
            )
        self._unsupported |= schemes

    def _signal_news(self) -> None:
        if self._queue.has_news():
            self.news.set()

    def progress(self) -> Progress:
        """Return the progress of the run."""
        eta = self._scaling.last.eta
        jobs = self._queue.counts()
        pilots = pilots_by_state(self._fleet.live, self._queue.served_s())
        return Progress(
            **{**jobs, **pilots},  # type: ignore[arg-type]
            to_come=self._queue.upcoming.to_come,
            eta=eta and eta.after(self._clock.now_s() - self._looked_s),
        )

    def _attempt(self, what: str, act: Callable[[], None]) -> bool:
        """Run `act`; report a failure once for each cause, and once that it works again."""
        try:
            act()
        except (OsgpilotError, OSError) as error:
            if self._silent.get(what) != str(error):
                passes = isinstance(error, OutcomeUnknownError) and not self._closing.is_set()
                later = "; retrying" if passes else ""
                logger.warning(f"could not {what}: {error}{later}")
            self._silent[what] = str(error)
            return False
        if self._silent.pop(what, None):
            logger.info(f"could {what} again")
        return True


def _thread(target: Callable[[], None], name: str) -> threading.Thread:
    """Return a thread whose log records have the label of this one."""
    return threading.Thread(target=copy_context().run, args=(target,), name=name, daemon=True)
