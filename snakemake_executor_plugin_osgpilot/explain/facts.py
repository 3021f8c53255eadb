"""Facts of a run that explain why something waits, is held, slow or refused; and explanations."""

from __future__ import annotations

from dataclasses import dataclass

from snakemake_executor_plugin_osgpilot.model.plan import Refusal
from snakemake_executor_plugin_osgpilot.model.resources import JobClass, Policy, Shape


@dataclass(frozen=True)
class JobFact:
    """A job as it is known. `name` is rule and wildcards, `state` as `report.facts.Job` has it.

    `text` is why it is held, waits again or failed; `code` and `subcode` those of a hold, 0 if not
    known. `usual_s` is what jobs of its rule took, None before one ended, `woken_s` when we had
    HTCondor think of it again.
    """

    key: str
    rule: str
    name: str
    state: str
    job_class: JobClass
    since_s: float
    job_id: str = ""
    text: str = ""
    code: int = 0
    subcode: int = 0
    allocation: str = ""
    node: str = ""
    starts: int = 0
    usual_s: float | None = None
    woken_s: tuple[float, ...] = ()


@dataclass(frozen=True)
class PilotFact:
    """A pilot as it is known. `free` is its shape less what runs there, `life_s` how long a job may
    take that starts there now, or when it comes.
    """

    name: str
    state: str
    shape: Shape
    free: Shape
    since_s: float
    allocation: str = ""
    node: str = ""
    offer: str = ""
    pending_reason: str = ""
    failure: str = ""
    life_s: float = 0.0
    jobs: int = 0

    @property
    def waits(self) -> bool:
        """Whether Slurm has not started it yet."""
        return self.state in ("intended", "pending")

    @property
    def serves(self) -> bool:
        """Whether it takes jobs, now or as soon as it is there."""
        return self.waits or self.state in ("booting", "ready")

    @property
    def label(self) -> str:
        """How a user finds it."""
        return f"Slurm job {self.allocation}" if self.allocation else f"pilot {self.name}"


@dataclass(frozen=True)
class Facts:
    """A run at `at_s`. `alive` says whether a Snakemake works on it, `ended` whether it came to its
    end. `refusals` are those of the latest plan; `unanswered` says who did not answer.
    """

    at_s: float
    alive: bool
    ended: bool
    policy: Policy | None
    jobs: tuple[JobFact, ...]
    pilots: tuple[PilotFact, ...]
    refusals: tuple[Refusal, ...] = ()
    unanswered: tuple[str, ...] = ()


@dataclass(frozen=True)
class Explanation:
    """Why `subject` is as it is, in lines, and the next step (empty: none is needed)."""

    subject: str
    lines: tuple[str, ...]
    next_step: str = ""
