"""The pilots of a run: what Slurm says of them, and what a plan does to them."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

from snakemake_executor_plugin_osgpilot.core.lifecycle import advance
from snakemake_executor_plugin_osgpilot.core.model import Cancel, Pilot, PilotState, Plan
from snakemake_executor_plugin_osgpilot.errors import Refused, Unanswered
from snakemake_executor_plugin_osgpilot.pilot import parameters
from snakemake_executor_plugin_osgpilot.ports import Allocation, Clock, Seat, Slurm
from snakemake_executor_plugin_osgpilot.run import RunFolder
from snakemake_executor_plugin_osgpilot.site.load import Site

USELESS_MAX = 3
"""So many pilots in a row that were of no use, and no more are started."""

END_WAIT_S = 20.0
"""How long a pilot may take to end gently; at the end of a workflow it has no job to lose."""

KILL_WAIT_S = 30.0
LOOK_PAUSE_S = 1.0
LOG_TAIL = 400


class Fleet:
    """All pilots of one run, by name. Used by one thread at a time."""

    def __init__(
        self, slurm: Slurm, clock: Clock, site: Site, seat: Seat, folder: RunFolder
    ) -> None:
        self._slurm = slurm
        self._clock = clock
        self._site = site
        self._seat = seat
        self._folder = folder
        self._pilots: dict[str, Pilot] = {}
        self._served: set[str] = set()
        self._useless = 0
        self.trouble = ""

    @property
    def pilots(self) -> tuple[Pilot, ...]:
        return tuple(self._pilots.values())

    @property
    def live(self) -> tuple[Pilot, ...]:
        return tuple(p for p in self.pilots if not p.state.over)

    def look(self, served: set[str], *, jobs_wait: bool = False) -> list[Pilot]:
        """Ask Slurm once for all pilots; return those that changed state.

        `served` names pilots that a job was started on, `jobs_wait` says whether there are jobs for
        more. Raises `Unanswered`; what is known stays.
        """
        self._served |= served
        if not self.live:
            return []
        rows = self._slurm.look()
        changed = []
        for before in self.live:
            after = advance(before, rows.get(before.name), at_s=self._clock.now_s())
            self._pilots[after.name] = after
            if after.state is not before.state:
                changed.append(after)
                self._judge(after, jobs_wait=jobs_wait)
        return changed

    def apply(self, plan: Plan) -> None:
        """Do what the plan says. Raises `Unanswered`; a refusal of Slurm becomes `trouble`."""
        for action in plan.actions:
            if isinstance(action, Cancel):
                pilot = self._pilots[action.pilot]
                self._quietly(self._slurm.cancel_pending, [pilot])
            elif not self.trouble:
                self._launch()

    def end(self, *, wait_s: float = END_WAIT_S, kill_wait_s: float = KILL_WAIT_S) -> None:
        """End every pilot: pending ones at once, running ones gently, what stays by force.

        Raises `Unanswered` if Slurm did not say that all are gone.
        """
        steps: tuple[tuple[Callable[[list[Pilot]], None], float], ...] = (
            (self._end_gently, wait_s),
            (lambda pilots: self._quietly(self._slurm.kill, pilots), kill_wait_s),
        )
        for ask, patience_s in steps:
            deadline = self._clock.now_s() + patience_s
            asked: set[tuple[str, PilotState]] = set()
            while self.live and self._clock.now_s() <= deadline:
                # Slurm may be away for a moment: keep asking until the deadline
                with suppress(Unanswered):
                    self.look(set())
                    new = [p for p in self.live if (p.name, p.state) not in asked]
                    ask(new)
                    asked |= {(p.name, p.state) for p in new}
                if self.live:
                    time.sleep(LOOK_PAUSE_S)
        if self.live:
            names = ", ".join(p.allocation_id or p.name for p in self.live)
            raise Unanswered(f"Slurm still shows pilots after they were cancelled: {names}")

    def _end_gently(self, pilots: list[Pilot]) -> None:
        running = (PilotState.RUNNING, PilotState.ENDING)
        self._quietly(self._slurm.end_running, [p for p in pilots if p.state in running])
        self._quietly(self._slurm.cancel_pending, [p for p in pilots if p.state not in running])

    @staticmethod
    def _quietly(act: Callable[[list[str]], None], pilots: list[Pilot]) -> None:
        """Act on the allocations there are. A refusal means they are gone; the next look tells."""
        ids = [p.allocation_id for p in pilots if p.allocation_id]
        if ids:
            try:
                act(ids)
            except Refused:
                return

    def _launch(self) -> None:
        name = f"osgpilot-{self._seat.run}-{len(self._pilots) + 1}"
        options = self._site.pilot
        pilot = Pilot(name, options.shape, since_s=self._clock.now_s())
        folder = self._folder.pilot(name)
        values = parameters.parameters(self._site, self._seat, name)
        parameters.write(folder, self._site, values)
        allocation = Allocation(
            name,
            self._seat.run,
            options.cores,
            options.memory_mb,
            options.walltime_min,
            folder,
            options.gpus,
        )
        self._pilots[name] = pilot
        try:
            allocation_id = self._slurm.submit(allocation)
        except Refused as refusal:
            self._pilots[name] = replace(pilot, state=PilotState.FAILED)
            self.trouble = str(refusal)
        else:
            self._pilots[name] = replace(
                pilot, allocation_id=allocation_id, state=PilotState.PENDING
            )

    def _judge(self, pilot: Pilot, *, jobs_wait: bool) -> None:
        """Stop launching when pilot after pilot is of no use.

        Of no use is one that failed before it served a job, and one that left because it found
        nothing to do while jobs were waiting: something keeps the two apart.
        """
        if pilot.name in self._served:
            self._useless = 0
        elif pilot.state is PilotState.FAILED or (pilot.state is PilotState.DONE and jobs_wait):
            self._useless += 1
        if self._useless < USELESS_MAX or self.trouble:
            return
        if pilot.state is PilotState.FAILED:
            self.trouble = f"{USELESS_MAX} pilots failed in a row; the last one said: "
            self.trouble += self._log_tail(pilot)
        else:
            self.trouble = (
                f"{USELESS_MAX} pilots in a row left without a job although jobs wait; "
                "ask HTCondor why: condor_q -better-analyze"
            )

    def _log_tail(self, pilot: Pilot) -> str:
        log = self._folder.pilot(pilot.name) / "slurm.log"
        try:
            text = log.read_text(encoding="utf-8", errors="replace")
        except OSError:
            return f"nothing (no log at {log})"
        return " ".join(text[-LOG_TAIL:].split())
