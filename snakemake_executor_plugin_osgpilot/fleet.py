"""The pilots of a run: what Slurm and the pool say of them, and what a plan does to them."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial

from snakemake_executor_plugin_osgpilot.core.actions import Cancel, Drain, Launch, Plan
from snakemake_executor_plugin_osgpilot.core.lifecycle import advance, registered
from snakemake_executor_plugin_osgpilot.core.model import Pilot, PilotState
from snakemake_executor_plugin_osgpilot.core.snapshot import Gate
from snakemake_executor_plugin_osgpilot.errors import Refused, Unanswered, Unreached
from snakemake_executor_plugin_osgpilot.health import Health
from snakemake_executor_plugin_osgpilot.pilot import parameters
from snakemake_executor_plugin_osgpilot.ports import Allocation, Clock, Seat, Slurm
from snakemake_executor_plugin_osgpilot.run import RunFolder
from snakemake_executor_plugin_osgpilot.signs import Move, Signs
from snakemake_executor_plugin_osgpilot.site.kinds import Kind, kinds
from snakemake_executor_plugin_osgpilot.site.load import Site

BOOT_DEADLINE_S = 900.0
"""A pilot that has not registered by then never will: OSG_NODE_VALIDATED takes 1 to 8 minutes."""

END_WAIT_S = 20.0
"""How long a pilot may take to end gently; at the end of a workflow it has no job to lose."""

LEAVE_WAIT_S = 10.0
"""How long to watch pilots leave that others may use; what is busy then is left to itself."""

KILL_WAIT_S = 30.0
LOOK_PAUSE_S = 1.0


class Fleet:
    """All pilots of one run, by name. Used by one thread at a time."""

    def __init__(
        self, slurm: Slurm, clock: Clock, site: Site, seat: Seat, folder: RunFolder,
        record: Callable[[Iterable[Pilot]], None] | None = None,
    ) -> None:  # fmt: skip
        self._slurm = slurm
        self._clock = clock
        self._site = site
        self._seat = seat
        self._folder = folder
        self._kinds: dict[str, Kind] = {kind.offer.name: kind for kind in kinds(site)}
        self._record = record
        self._pilots: dict[str, Pilot] = {}
        self._count = folder.last_number("pilots")
        self._served: frozenset[str] = frozenset()
        self.health = Health(self._kinds)

    def recall(self, pilots: Iterable[Pilot]) -> None:
        """Take in the pilots of an earlier life of the run; the next look tells what they are."""
        for pilot in pilots:
            self._pilots[pilot.name] = replace(pilot, absent_looks=0)
            self._count = max(self._count, int(pilot.name.rpartition("-")[2]))
        self.health.know(pilot.offer for pilot in self.pilots)

    @property
    def pilots(self) -> tuple[Pilot, ...]:
        return tuple(self._pilots.values())

    @property
    def shared(self) -> bool:
        """Whether jobs of others may run on these pilots."""
        return self._seat.scope.shared

    @property
    def live(self) -> tuple[Pilot, ...]:
        return tuple(p for p in self.pilots if not p.state.over)

    def gates(self) -> dict[str, Gate]:
        """Return what the breakers allow now, by offer."""
        live = Counter(pilot.offer for pilot in self.live)
        return self.health.gates(live, self._clock.now_s())

    def look(self, signs: Signs) -> list[Move]:
        """Ask Slurm once for all pilots; return those that changed state.

        Raises `Unanswered`; what is known stays.
        """
        for name in (signs.served.keys() & self._pilots.keys()) - self._served:
            self.health.served(self._pilots[name].offer)
        self._served |= signs.served.keys()
        if not self.live:
            return []
        rows = self._slurm.look()
        now_s = self._clock.now_s()
        moves = []
        for before in self.live:
            after = advance(before, rows.get(before.name), at_s=now_s)
            if after.name in signs.served:
                after = registered(after, at_s=signs.served[after.name])
            elif after.name in signs.known:
                after = registered(after, at_s=now_s)
            self._pilots[after.name] = after
            if after.state is not before.state:
                moves.append(Move(before, after))
                if after.state.over:
                    self._judge(after, jobs_wait=signs.jobs_wait)
        self._end_mute(signs, now_s)
        return moves

    def tell(self, files: Mapping[str, str]) -> None:
        """Write files (text by name) where pilots look, into the run's folder.

        Raises `Unanswered`.
        """
        self._slurm.write({self._folder.path / name: text for name, text in files.items()})

    def shun(self, name: str, why: str) -> None:
        """Have no more jobs on a pilot, whose node seems to be bad."""
        if pilot := self._pilots.get(name):
            self.health.shun(pilot, why, self._clock.now_s())

    def note_unneeded(self, names: Iterable[str]) -> None:
        """Remember since when plans have had no use for these pilots, and forget it for others."""
        unneeded, now_s = set(names), self._clock.now_s()
        for pilot in self.live:
            since_s = pilot.unneeded_since_s if pilot.name in unneeded else None
            if pilot.name in unneeded and since_s is None:
                since_s = now_s
            self._pilots[pilot.name] = replace(pilot, unneeded_since_s=since_s)

    def apply(self, plan: Plan) -> None:
        """Do what the plan says. Raises `Unanswered`; a refusal of Slurm opens a breaker."""
        pilots = self._pilots
        cancelled = [pilots[a.pilot] for a in plan.actions if isinstance(a, Cancel)]
        drained = [pilots[a.pilot] for a in plan.actions if isinstance(a, Drain)]
        self._quietly(self._slurm.cancel_pending, cancelled)
        self._drain(drained)
        for action in plan.actions:
            if isinstance(action, Launch) and not self.health.is_permanent(action.offer):
                self._launch(action)

    def expected_wait_s(self, offer: str, walltime_s: int) -> float | None:
        """Ask Slurm how long a pilot would wait; None if it does not say."""
        pilot = self._new_pilot("osgpilot-test", Launch(offer, walltime_s, ""))
        with suppress(Unanswered, Refused):
            return self._slurm.expected_wait_s(self._allocation(pilot))
        return None

    def end(self, *, wait_s: float = END_WAIT_S, kill_wait_s: float = KILL_WAIT_S) -> None:
        """End every pilot: pending ones at once, running ones gently, what stays by force.

        Where jobs of others may run, pilots are asked to finish these first: they are not waited
        for and stay in `live`. Raises `Unanswered` if Slurm did not say that all others are gone.
        """
        steps: tuple[tuple[Callable[[list[Pilot]], None], float], ...] = (
            (self._end_gently, wait_s),
            (lambda pilots: self._quietly(self._slurm.kill, pilots), kill_wait_s),
        )
        if self.shared:
            steps = ((self._end_later, min(wait_s, LEAVE_WAIT_S)),)
        for ask, patience_s in steps:
            deadline = self._clock.now_s() + patience_s
            asked: set[tuple[str, PilotState]] = set()
            while self.live and self._clock.now_s() <= deadline:
                # Slurm may be away for a moment: keep asking until the deadline
                with suppress(Unanswered):
                    self.look(Signs())
                    new = [p for p in self.live if (p.name, p.state) not in asked]
                    ask(new)
                    asked |= {(p.name, p.state) for p in new}
                if self.live:
                    time.sleep(LOOK_PAUSE_S)
        left = [p for p in self.live if not (self.shared and p.state is PilotState.DRAINING)]
        if left:
            names = ", ".join(p.allocation_id or p.name for p in left)
            raise Unanswered(f"Slurm still shows pilots after they were cancelled: {names}")

    def _end_gently(self, pilots: list[Pilot]) -> None:
        self._quietly(self._slurm.end_running, [p for p in pilots if not p.state.waits])
        self._quietly(self._slurm.cancel_pending, [p for p in pilots if p.state.waits])

    def _end_later(self, pilots: list[Pilot]) -> None:
        self._drain([p for p in pilots if p.state.serves and not p.state.waits])
        self._quietly(self._slurm.cancel_pending, [p for p in pilots if p.state.waits])

    def _drain(self, pilots: list[Pilot]) -> None:
        self._quietly(self._slurm.drain_running, pilots)
        for pilot in pilots:
            self._pilots[pilot.name] = replace(
                pilot, state=PilotState.DRAINING, since_s=self._clock.now_s()
            )

    @staticmethod
    def _quietly(act: Callable[[list[str]], None], pilots: list[Pilot]) -> None:
        """Act on the allocations there are. A refusal means they are gone; the next look tells."""
        ids = [p.allocation_id for p in pilots if p.allocation_id]
        if ids:
            try:
                act(ids)
            except Refused:
                return

    def _new_pilot(self, name: str, action: Launch) -> Pilot:
        now_s = self._clock.now_s()
        return Pilot(
            name,
            self._kinds[action.offer].offer.shape,
            offer=action.offer,
            walltime_s=action.walltime_s,
            asked_s=now_s,
            since_s=now_s,
        )

    def _allocation(self, pilot: Pilot) -> Allocation:
        kind = self._kinds[pilot.offer]
        return Allocation(
            pilot.name,
            self._seat.run,
            pilot.shape.cores,
            kind.memory_mb,
            pilot.walltime_s // 60,
            self._folder.pilot(pilot.name),
            partition=kind.partition.name,
            gpus=pilot.shape.gpus,
            gpu_type=kind.partition.gpu_type,
            exclude=self.health.excluded(self._clock.now_s()),
        )

    def _launch(self, action: Launch) -> None:
        name = f"osgpilot-{self._seat.run}-{self._count + 1}"
        pilot = self._new_pilot(name, action)
        if self._record:
            self._record([pilot])
        self._count += 1
        values = parameters.parameters(self._site, self._seat, pilot, self._folder.path)
        files = parameters.pilot_files(self._site, values)
        self._pilots[name] = pilot
        try:
            allocation_id = self._submit(replace(self._allocation(pilot), files=files))
        except Unreached:
            del self._pilots[name]
            raise
        except Refused as refusal:
            now_s = self._clock.now_s()
            self._pilots[name] = replace(
                pilot, state=PilotState.FAILED, ended_s=now_s, failure=str(refusal)
            )
            self.health.refused(pilot.offer, now_s, str(refusal))
        else:
            self._pilots[name] = replace(
                pilot, allocation_id=allocation_id, state=PilotState.PENDING
            )

    def _submit(self, allocation: Allocation) -> str:
        try:
            return self._slurm.submit(allocation)
        except Refused:
            if not allocation.exclude:
                raise
            # perhaps too few nodes are left: a bad one is better than none
            self.health.forgive_nodes()
            return self._slurm.submit(replace(allocation, exclude=()))

    def _end_mute(self, signs: Signs, now_s: float) -> None:
        """End pilots that run but have not come to the pool, if the pool has told so since."""
        if signs.asked_s is None:
            return
        mute = [
            pilot
            for pilot in self.live
            if pilot.state is PilotState.BOOTING
            and pilot.started_s is not None
            and signs.asked_s - pilot.started_s > BOOT_DEADLINE_S
        ]
        self._quietly(self._slurm.end_running, mute)
        for pilot in mute:
            text = f"did not come to the pool within {BOOT_DEADLINE_S / 60:.0f} min"
            self._pilots[pilot.name] = replace(
                pilot, state=PilotState.DRAINING, since_s=now_s, failure=text
            )

    def _judge(self, pilot: Pilot, *, jobs_wait: bool) -> None:
        # one that may have served others is not to blame for having left none of ours a place
        jobs_wait = jobs_wait and not self.shared
        if pilot.name not in self._served:
            log_tail = partial(self._log_tail, pilot.name)
            self.health.judge(pilot, jobs_wait, log_tail, self._clock.now_s())

    def _log_tail(self, name: str) -> str:
        folder = self._folder.pilot(name)
        with suppress(Unanswered, Refused):
            if said := " ".join(self._slurm.log_tail(folder).split()):
                return said
        return f"nothing (no log in {folder})"
