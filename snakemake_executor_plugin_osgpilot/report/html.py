"""A run as one HTML page that needs nothing else: no network, no library, and little script.

Everything goes through Jinja's escaping, and what is not visible is shown as an escape; what a
workflow says is never part of a script.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path, PurePath
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from ..common.counting import count_of, size_of
from ..common.durations import duration
from ..common.printable import printable
from ..common.times import clock, date
from ..model import runtime_by_size
from .compiled_pages import compiled_pages
from .core_hours import waste
from .recommendations import JOBS_MIN, profile, uses
from .replay import ReplayedRun
from .series import POINTS, Balance, balance
from .summary import RunState, View
from .timeline import PILOTS_MAX, WIDTH, Scale, colours_of, timeline

INCOMPLETE = (RunState.FAILED, RunState.INTERRUPTED, RunState.LOST)
"""States of runs from which nothing is recommended."""

REASONS_MAX = 5
CHART_HEIGHT = 180.0
FAILURES_MAX, DECISIONS_MAX, RULES_MAX = 50, 50, 300
TICKS = (1, 5, 15, 30, 60, 300, 900, 1800, 3600, 3 * 3600, 6 * 3600, 86400, 7 * 86400)
TICKS_MAX = 10

KINDS = (
    ("useful", "in jobs that succeeded or still run"),
    ("failed", "in jobs that failed or were interrupted"),
    ("boot", "before a pilot was of use"),
    (
        "fragmentation",
        "free beside other jobs while jobs waited that did not fit in, or were on their way",
    ),
    ("idle", "free while no job waited, or in a pilot without a job"),
    ("tail", "free after the last job had found a place"),
)


@dataclass(frozen=True)
class Tick:
    """A mark of the time axis."""

    x: float
    text: str


def page(replayed: ReplayedRun, view: View) -> str:
    """Return the HTML page of a run."""
    begun_s = view.begun_s
    ended_s = max(view.at_s, begun_s + 1)
    scale = Scale(begun_s, ended_s)
    colours = colours_of(replayed)
    used = uses(replayed)
    spent = waste(replayed, view.at_s)
    cores = balance(replayed, begun_s, ended_s)
    reasons = _reasons(view)
    return _template().render(
        view=view,
        life=replayed.life,
        scale=scale,
        width=WIDTH,
        ticks=ticks(begun_s, ended_s),
        timeline=timeline(replayed, scale, colours),
        pilots_max=PILOTS_MAX,
        colours=colours,
        jobs_by_rule={name: rule.jobs for name, rule in view.rules.items()},
        chart=_chart(cores),
        chart_height=CHART_HEIGHT,
        cores_most=cores.most,
        waste=asdict(spent),
        charged_core_s=spent.charged,
        kinds=KINDS,
        uses=used[:RULES_MAX],
        profile="" if view.state in INCOMPLETE else profile(used[:RULES_MAX]),
        enough=JOBS_MIN,
        samples_max=runtime_by_size.SAMPLES_MAX,
        by_size_min=runtime_by_size.JOBS_MIN,
        about=about(replayed.life),
        reasons=reasons[:REASONS_MAX],
        reasons_left=len(reasons[REASONS_MAX:]),
        failures=view.failures[-FAILURES_MAX:],
        decisions=view.decisions[-DECISIONS_MAX:],
    )  # fmt: skip


@dataclass(frozen=True)
class About:
    """The workflow's name, and what the page says of it, its command and the versions."""

    workflow: str = ""
    items: tuple[tuple[str, str], ...] = ()


def about(life: Mapping[str, Any]) -> About:
    """Return what the first line of a session says of the workflow; nothing in older histories."""
    known = life.get("about") or {}
    items = tuple((name, text) for name, text in known.items() if text)
    folder = PurePath(known.get("folder", "")).name
    return About(folder, items)


@dataclass(frozen=True)
class Reason:
    """Why jobs of a rule failed for good, and the first of them."""

    rule: str
    label: str
    summary: str
    count: int


def _reasons(view: View) -> list[Reason]:
    found: dict[tuple[str, str], Reason] = {}
    for failure in view.failures:
        if not failure.retried:
            key = failure.rule, failure.summary
            first = found.get(key, Reason(failure.rule, failure.label, failure.summary, 0))
            found[key] = replace(first, count=first.count + 1)
    return sorted(found.values(), key=lambda reason: -reason.count)


def _shown(value: object) -> object:
    # leave the output of macros alone, which is a subclass of `str`
    return printable(value) if type(value) is str else value


@cache
def _template() -> Template:
    made = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
        finalize=_shown, loader=FileSystemLoader(Path(__file__).parent), auto_reload=False,
        bytecode_cache=compiled_pages(Path(__file__)),
    )  # fmt: skip
    made.filters |= {"duration": duration, "clock": clock, "date": date, "hours": _hours}
    made.filters |= {"count": count_of, "size": size_of}
    return made.get_template("page.html.j2")


def _chart(cores: Balance) -> dict[str, str]:
    """Return the stacked areas of the chart, and the line of total demand."""
    factor = CHART_HEIGHT / cores.most
    base = [0.0] * POINTS
    areas = {}
    for name, values in (("busy", cores.busy), ("free", cores.idle), ("coming", cores.coming)):
        top = [low + value for low, value in zip(base, values, strict=True)]
        areas[name] = _area(base, top, factor)
        base = top
    wanted = [busy + waiting for busy, waiting in zip(cores.busy, cores.waiting, strict=True)]
    areas["wanted"] = "M" + "L".join(_points(wanted, factor))
    return areas


def _area(low: list[float], high: list[float], factor: float) -> str:
    if low == high:
        return ""
    return "M" + "L".join([*_points(high, factor), *reversed(_points(low, factor))]) + "z"


def _points(values: list[float], factor: float) -> list[str]:
    step = WIDTH / (POINTS - 1)
    return [
        f"{step * index:.5g} {CHART_HEIGHT - factor * value:.5g}"
        for index, value in enumerate(values)
    ]


def ticks(begun_s: float, ended_s: float) -> list[Tick]:
    """Return marks at round times since the beginning."""
    span_s = ended_s - begun_s
    step_s = next((step for step in TICKS if span_s / step <= TICKS_MAX), span_s / TICKS_MAX)
    marks = [step_s * number for number in range(int(span_s / step_s) + 1)]
    return [Tick(round(WIDTH * mark / span_s, 1), _mark(mark, step_s)) for mark in marks]


def _mark(seconds: float, step_s: float) -> str:
    if step_s < 60 and seconds >= 60:
        return f"{seconds // 60:.0f}:{seconds % 60:02.0f} min"
    if step_s < 3600 and seconds >= 3600:
        return f"{seconds // 3600:.0f}:{seconds % 3600 // 60:02.0f} h"
    return duration(seconds)


def _hours(seconds: float) -> str:
    return f"{seconds / 3600:.3f}"
