"""The tick: look, plan, act. One thread drives the queue and the fleet of one run."""

from __future__ import annotations

import threading
from collections.abc import Callable

from snakemake_executor_plugin_osgpilot import run as runs
from snakemake_executor_plugin_osgpilot.core.model import PilotState, Policy, Snapshot
from snakemake_executor_plugin_osgpilot.core.plan import plan
from snakemake_executor_plugin_osgpilot.errors import OsgpilotError, Unanswered
from snakemake_executor_plugin_osgpilot.fleet import Fleet
from snakemake_executor_plugin_osgpilot.ports import Clock, Seat
from snakemake_executor_plugin_osgpilot.queue import Queue
from snakemake_executor_plugin_osgpilot.run import RunFolder

TICK_S = 0.5
LOOK_EVERY_S = 20.0
LOOK_SOONEST_S = 3.0
"""Slurm is asked every LOOK_EVERY_S; sooner for new jobs, but not within LOOK_SOONEST_S."""

REMOVAL_LOOKS, REMOVAL_PAUSE_S = 10, 0.5

Say = Callable[[str], None]


class Controller:
    """Runs ticks in a thread of its own until `close`; never raises there."""

    def __init__(
        self,
        queue: Queue,
        fleet: Fleet,
        clock: Clock,
        policy: Policy,
        seat: Seat,
        folder: RunFolder,
        say: Say,
        warn: Say,
    ) -> None:
        self._queue, self._fleet, self._clock = queue, fleet, clock
        self._policy, self._seat, self._folder = policy, seat, folder
        self._say, self._warn = say, warn
        self._looked_s = float("-inf")
        self._new_demand = False
        self._said = ""
        self._silent: dict[str, str] = {}
        self._wake = threading.Event()
        self._closing = threading.Event()
        self._pause = threading.Event()
        self.news = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="osgpilot", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def wake(self) -> None:
        """Have the next tick at once; called when jobs were added."""
        self._wake.set()

    def close(self) -> None:
        """Stop ticking, empty the queue of this run, end its pilots, write the record."""
        self._closing.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join()
        unfinished = self._queue.any_left()
        if unfinished:
            self._attempt("remove the jobs of this run", self._remove_jobs)
        if self._fleet.live:
            self._say(f"ending {len(self._fleet.live)} pilot(s)")
        self._attempt("end the pilots", self._fleet.end)
        if unfinished:
            self._attempt("empty the queue", self._empty_queue)
        self._attempt("write the record", self._write_record)

    def _remove_jobs(self) -> None:
        """Remove all jobs; let the pilots confirm it before they are told to end themselves.

        A pilot that is told to end while its jobs are being removed may wait for them in vain.
        """
        self._queue.remove_all()
        for _ in range(REMOVAL_LOOKS):
            if not self._queue.remaining():
                return
            self._pause.wait(REMOVAL_PAUSE_S)

    def _empty_queue(self) -> None:
        if self._queue.remaining():
            self._queue.forget_removed()
        if self._queue.remaining():
            clause = f"'OSGPilotWorkflow == \"{self._seat.run}\"'"
            raise Unanswered(
                f"jobs are still there; remove them with: condor_rm -constraint {clause}"
            )

    def _loop(self) -> None:
        while not self._closing.is_set():
            try:
                self.tick()
            except Exception as error:
                # a bug of ours must not end the thread: the jobs would wait for ever
                self._warn(f"internal error, going on: {type(error).__name__}: {error}")
            self._wake.wait(TICK_S)
            self._wake.clear()

    def tick(self) -> None:
        """Do what is due: send, follow, look at Slurm, plan, act."""
        self._attempt("submit jobs", self._send)
        if self._attempt("read the event log", self._queue.follow):
            self._attempt("look after jobs in trouble", self._mend)
        self._signal_news()
        age_s = self._clock.now_s() - self._looked_s
        # without pilots there is nothing to ask Slurm about, and the first jobs need some at once
        soonest_s = LOOK_SOONEST_S if self._fleet.live else 0.0
        if age_s >= LOOK_EVERY_S or (self._new_demand and age_s >= soonest_s):
            self._new_demand = False
            self._looked_s = self._clock.now_s()
            self._attempt("look after the pilots", self._scale)
            self._attempt("write the record", self._write_record)

    def _send(self) -> None:
        if self._queue.send():
            self._new_demand = True

    def _mend(self) -> None:
        for notice in self._queue.notices():
            self._say(notice)
        self._queue.mend(self._clock.now_s())

    def _scale(self) -> None:
        waiting, running = self._queue.demand()
        served = self._queue.pilots_that_served()
        for pilot in self._fleet.look(served, jobs_wait=bool(waiting)):
            where = f" on {pilot.node}" if pilot.node else ""
            self._say(f"pilot {pilot.allocation_id}{where}: {pilot.state.value}")
            if pilot.state.over:
                self._queue.pilot_ended(pilot.name, self._clock.now_s())
        snapshot = Snapshot(self._clock.now_s(), waiting, self._fleet.pilots, running)
        decided = plan(snapshot, self._policy)
        if decided.unfit:
            shape = self._policy.pilot_shape
            shapes = "; ".join(f"{c.shape}, {c.runtime_s // 60} min" for c in decided.unfit)
            limit = f"{shape}, {self._policy.walltime_s // 60} min"
            text = f"no pilot of this site can run this job: it needs {shapes}, a pilot has {limit}"
            self._queue.fail_waiting(decided.unfit, text)
        for action in dict.fromkeys(decided.actions):
            number = decided.actions.count(action)
            self._say(f"{type(action).__name__.lower()} {number} pilot(s): {action.reason}")
        self._fleet.apply(decided)
        if self._fleet.trouble and not self._fleet.live:
            self._queue.fail_waiting(None, f"no pilots can be started: {self._fleet.trouble}")
        self._signal_news()
        self._report(sum(waiting.values()), sum(jobs.total() for jobs in running.values()))

    def _signal_news(self) -> None:
        if self._queue.has_news():
            self.news.set()

    def _report(self, waiting: int, running: int) -> None:
        states = [p.state for p in self._fleet.live]
        pending = sum(s in (PilotState.PENDING, PilotState.INTENDED) for s in states)
        line = (
            f"jobs: {waiting} waiting, {running} running; "
            f"pilots: {pending} pending, {states.count(PilotState.RUNNING)} running"
        )
        if line != self._said and (waiting or running or states):
            self._said = line
            self._say(line)

    def _write_record(self) -> None:
        now_s = self._clock.now_s()
        content = runs.record(self._seat, self._queue.rules(), self._fleet.pilots, now_s)
        runs.write(self._folder, content)

    def _attempt(self, what: str, act: Callable[[], None]) -> bool:
        """Do `act`; say once per cause if it failed, and once when it works again."""
        try:
            act()
        except (OsgpilotError, OSError) as error:
            if self._silent.get(what) != str(error):
                later = "; trying again" if isinstance(error, Unanswered) else ""
                self._warn(f"could not {what}: {error}{later}")
            self._silent[what] = str(error)
            return False
        if self._silent.pop(what, None):
            self._say(f"could {what} again")
        return True
