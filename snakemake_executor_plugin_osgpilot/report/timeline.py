"""Pilots and their jobs over time, as shapes to be drawn. Pure.

With many jobs, those that follow each other within a pixel are drawn as one; with many cores, each
pilot is drawn by how many of its cores are busy.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property

from .entities import Attempt, Pilot
from .replay import ReplayedRun
from .series import POINTS, Series

WIDTH = 1000.0
LANE, GAP, LANES_MAX = 7.0, 5.0, 400
ROW = 16.0
PILOTS_MAX = 300
"""Maximum number of pilots drawn: those that were charged most."""

BOXES_MAX = 2500
"""Maximum number of jobs drawn one by one, with tooltips; more are merged."""

BAD = -1
"""The colour of jobs that did not succeed; others are numbers of their rules."""

COLOURS = 7
"""The last one is for all rules without a colour of their own."""


@dataclass
class Box:
    """A rectangle; `tip` says what it is."""

    x: float
    y: float
    width: float
    height: float
    kind: str
    tip: str = ""


@dataclass
class Row:
    """One pilot: its place, its phases, its jobs as boxes or as paths by colour."""

    pilot: Pilot
    y: float
    height: float
    jobs: int
    phases: list[Box] = field(default_factory=list)
    boxes: list[Box] = field(default_factory=list)
    paths: dict[int, str] = field(default_factory=dict)
    profile: str = ""


@dataclass
class Timeline:
    """All rows, and the number of pilots that are not drawn."""

    rows: list[Row]
    height: float
    left_out: int


@dataclass(frozen=True)
class Scale:
    """Maps times to coordinates."""

    begun_s: float
    ended_s: float

    def x(self, at_s: float) -> float:
        """Return the coordinate of a time, within the drawing."""
        share = (at_s - self.begun_s) / self._span_s
        return round(WIDTH * (0.0 if share < 0 else 1.0 if share > 1 else share), 1)

    @cached_property
    def _span_s(self) -> float:
        return max(1.0, self.ended_s - self.begun_s)


def timeline(replayed: ReplayedRun, scale: Scale, colours: dict[str, int]) -> Timeline:
    """Return the drawing; `colours` has a number for each rule."""
    attempts: defaultdict[str, list[Attempt]] = defaultdict(list)
    for job in replayed.jobs.values():
        for attempt in job.attempts:
            attempts[attempt.pilot].append(attempt)
    listed = sorted(
        replayed.pilots.values(), key=lambda p: -p.charged_s(scale.ended_s) * p.charged_cores
    )
    shown = sorted(listed[:PILOTS_MAX], key=lambda p: (p.started_s or p.asked_s, p.name))
    lanes = sum(pilot.shape.cores for pilot in shown)
    single = sum(len(attempts[pilot.name]) for pilot in shown) <= BOXES_MAX
    rows, y = [], 0.0
    for pilot in shown:
        own = sorted(attempts[pilot.name], key=lambda a: a.started_s)
        height = LANE * pilot.shape.cores if lanes <= LANES_MAX else ROW
        row = Row(pilot, y, height, len(own), phases=_phases(pilot, y, height, scale))
        if lanes > LANES_MAX:
            row.profile = _profile(pilot, own, row, scale)
        else:
            _draw(row, own, scale, colours, single=single)
        rows.append(row)
        y += height + GAP
    return Timeline(rows, y, len(listed) - len(shown))


def _phases(pilot: Pilot, y: float, height: float, scale: Scale) -> list[Box]:
    end_s = pilot.until_s(scale.ended_s)
    begun_s = end_s if pilot.started_s is None else pilot.started_s
    serves_s = max(begun_s, pilot.serves_s(scale.ended_s))
    drain_s = max(serves_s, pilot.moves.get("draining", end_s))
    spans = (
        ("wait", pilot.asked_s, begun_s, "waits in Slurm's queue"),
        ("boot", begun_s, serves_s, "boots"),
        ("idle", serves_s, drain_s, "serves"),
        ("drain", drain_s, end_s, "drains"),
    )
    return [
        Box(
            scale.x(a), y, round(scale.x(b) - scale.x(a), 1), height, kind, f"{what}, {b - a:.0f} s"
        )
        for kind, a, b, what in spans
        if b > a
    ]


def _draw(
    row: Row, attempts: Iterable[Attempt], scale: Scale, colours: dict[str, int], *, single: bool
) -> None:
    spans: defaultdict[tuple[int, int, int], list[list[float]]] = defaultdict(list)
    for attempt, lane, cores in _lanes(attempts, row.pilot.shape.cores, scale.ended_s):
        x, end = scale.x(attempt.started_s), scale.x(attempt.until_s(scale.ended_s))
        bad = attempt.how in ("failed", "interrupted", "cancelled")
        colour = BAD if bad else colours[attempt.job.rule]
        y, height = row.y + lane * LANE, cores * LANE - 1
        if single:
            box = Box(
                x, y, max(1.0, round(end - x, 1)), height, _name(colour), _tip(attempt, scale)
            )
            row.boxes.append(box)
            continue
        known = spans[colour, lane, cores]
        if known and x - known[-1][1] < 1:
            known[-1][1] = max(known[-1][1], end)
        else:
            known.append([x, max(end, x + 1)])
    parts: defaultdict[int, list[str]] = defaultdict(list)
    for (colour, lane, cores), found in spans.items():
        y, height = row.y + lane * LANE, cores * LANE - 1
        parts[colour] += [
            f"M{x:g} {y:g}h{end - x:.4g}v{height:g}h-{end - x:.4g}z" for x, end in found
        ]
    row.paths = {colour: "".join(each) for colour, each in parts.items()}


def _lanes(
    attempts: Iterable[Attempt], cores: int, now_s: float
) -> Iterable[tuple[Attempt, int, int]]:
    """Give each job adjacent free lanes, as many as it has cores."""
    free_s = [float("-inf")] * max(1, cores)
    for attempt in attempts:
        width = min(max(1, attempt.job.job_class.shape.cores), len(free_s))
        ends_s = free_s
        if width > 1:
            ends_s = [max(free_s[n : n + width]) for n in range(len(free_s) - width + 1)]
        lane = next((n for n, end_s in enumerate(ends_s) if end_s <= attempt.started_s), None)
        if lane is None:
            # the whole seconds of an event log let the next start before the last one's end
            lane = ends_s.index(min(ends_s))
        end_s = attempt.until_s(now_s)
        free_s[lane : lane + width] = [end_s] * width
        yield attempt, lane, width


def _profile(pilot: Pilot, attempts: Iterable[Attempt], row: Row, scale: Scale) -> str:
    """Return the outline of busy cores."""
    step_s = max(1.0, scale.ended_s - scale.begun_s) / POINTS
    busy = Series(scale.begun_s, step_s)
    for attempt in attempts:
        cores = attempt.job.job_class.shape.cores
        busy.add(attempt.started_s, attempt.until_s(scale.ended_s), cores)
    base, points = row.y + row.height, []
    before = 0.0
    for index, cores_busy in enumerate([*busy.values, 0.0]):
        share = min(1.0, cores_busy / pilot.shape.cores)
        if share != before:
            points.append(f"H{WIDTH * index / POINTS:.5g}V{base - share * row.height:.5g}")
            before = share
    return f"M0 {base:g}{''.join(points)}V{base:g}z" if points else ""


def _tip(attempt: Attempt, scale: Scale) -> str:
    job = attempt.job
    label = f" ({job.label})" if job.label else ""
    seconds = attempt.until_s(scale.ended_s) - attempt.started_s
    return f"{job.rule}{label}: {attempt.how}, {seconds:.0f} s, job {job.key}"


def _name(colour: int) -> str:
    return "bad" if colour == BAD else f"c{colour}"


def colours_of(replayed: ReplayedRun) -> dict[str, int]:
    """Return a colour's number for each rule; the rules with most jobs have their own."""
    rules = Counter(job.rule for job in replayed.jobs.values())
    last = COLOURS - 1
    return {rule: min(number, last) for number, (rule, _) in enumerate(rules.most_common())}
