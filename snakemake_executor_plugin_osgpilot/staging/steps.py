"""Steps of a job that wrapper.sh runs by steps.sh: members of a group, and benchmarked commands."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from typing import Any

from ..common.snakemake_types import AnyJob, SingleJob, single_jobs
from .early_values import resources_of, threads_of
from .payload import flagged, unknown

ROOM = ("mem_mb", "gpu")
"""Resources other than cores that concurrent steps share."""


@dataclass(frozen=True, slots=True)
class Step:
    """One command of a job.

    `crew` is the number that it shares with steps that have to run at the same time, as they are
    joined by `pipe()` or `service()`. `scripts` are several if a benchmark is repeated. `after` are
    the numbers of the steps that it waits for, `needs` the cores and the rest of `ROOM`, `uses` the
    temporary files that only this job's steps use, `awaited` the files of services that it waits
    for, `wanted` what it has to have made.
    """

    label: str
    interpreter: str
    scripts: tuple[str, ...]
    crew: int
    after: tuple[int, ...] = ()
    needs: tuple[int, ...] = (1, 0, 0)
    shadow: str = ""
    service: bool = False
    measured: bool = False
    pipes: tuple[str, ...] = ()
    uses: tuple[str, ...] = ()
    touched: tuple[str, ...] = ()
    given: tuple[str, ...] = ()
    made: tuple[str, ...] = ()
    wanted: tuple[str, ...] = ()
    awaited: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Schedule:
    """The steps of a job and the cores, memory and GPUs that they share."""

    room: tuple[int, ...]
    steps: tuple[Step, ...]

    def placed(self, placed: Callable[[Iterable[str]], tuple[str, ...]]) -> Schedule:
        """Return this schedule with paths as they lie in the job's folder."""
        steps = tuple(
            replace(
                step,
                pipes=placed(step.pipes),
                uses=placed(step.uses),
                touched=placed(step.touched),
                given=placed(step.given),
                made=placed(step.made),
                wanted=placed(step.wanted),
                awaited=placed(step.awaited),
            )
            for step in self.steps
        )
        return replace(self, steps=steps)

    def lists(self) -> Iterator[Sequence[str]]:
        """Yield the lists that steps.sh reads before those of each step."""
        crews: dict[int, list[str]] = {}
        for number, step in enumerate(self.steps):
            crews.setdefault(step.crew, []).append(str(number))
        yield tuple(map(str, self.room))
        yield self._passing
        yield tuple(" ".join(numbers) for numbers in crews.values())

    @property
    def _passing(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(path for step in self.steps for path in step.uses))

    def step_lists(self) -> Iterator[Sequence[str]]:
        """Yield the eleven lists of each step."""
        numbers = {path: str(number) for number, path in enumerate(self._passing)}
        for step in self.steps:
            kind = "service" if step.service else "job"
            yield (step.label, step.interpreter, step.shadow, kind, "1" if step.measured else "")
            yield step.scripts
            yield tuple(map(str, step.after))
            yield tuple(map(str, step.needs))
            yield step.pipes
            yield tuple(numbers[path] for path in step.uses)
            yield step.touched
            yield step.given
            yield step.made
            yield step.wanted
            yield step.awaited


@cache
def runner() -> str:
    """Return the text of steps.sh."""
    return files(__package__).joinpath("steps.sh").read_text()


def room_of(job: AnyJob) -> tuple[int, ...]:
    """Return the cores and the rest of `ROOM` that a job or group job asks for."""
    asked = resources_of(job)
    return (max(1, threads_of(job)), *(_amount(asked, name) for name in ROOM))


def _amount(resources: Mapping[str, Any], name: str) -> int:
    value = resources.get(name)
    known = isinstance(value, int | float) and not unknown(value)
    return max(0, int(value)) if known else 0  # type: ignore[arg-type]


def waits_for(parts: Sequence[SingleJob]) -> list[tuple[int, ...]]:
    """Return for each member of a group the numbers of the members that it waits for.

    Members of a crew wait for what any of them needs, and not for each other.
    """
    numbers = {part: number for number, part in enumerate(parts)}
    crews = crews_of(parts)
    before: dict[int, set[int]] = {}
    for part, crew in zip(parts, crews, strict=True):
        theirs = {numbers[dep] for dep in part.dag.dependencies[part] if dep in numbers}
        before.setdefault(crew, set()).update(theirs)
    return [
        tuple(sorted(number for number in before[crew] if crews[number] != crew)) for crew in crews
    ]


def crews_of(parts: Sequence[SingleJob]) -> list[int]:
    """Return the crew of each member: the number of its first member."""
    first: dict[object, int] = {}
    return [
        number if part.pipe_group is None else first.setdefault(part.pipe_group, number)
        for number, part in enumerate(parts)
    ]


def internal(job: AnyJob) -> frozenset[str]:
    """Return the files that only members of a group make and use: they stay where they run.

    Those with `ensure()` return, as they are checked here.
    """
    if not job.is_group():
        return frozenset()
    made = [file for part in single_jobs(job) for file in part.output]
    joining = {str(f) for f in made if flagged(f, "pipe") or flagged(f, "service")}
    unneeded = {f for f in job.dag.get_unneeded_temp_files(job) if not flagged(f, "ensure")}
    return frozenset(joining | set(map(str, unneeded)))
