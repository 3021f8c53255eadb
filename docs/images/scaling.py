"""Draw how scaling decides: `python docs/images/scaling.py` writes scaling-*.svg beside itself.

Each picture is three simulated runs of one workflow, with other values of `osgpilot-cost-weight`.
The simulation and its random numbers are those of `osgpilot simulate`, so the same source gives
the same pictures.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from snakemake_executor_plugin_osgpilot.scaling.planner.planner import plan
from snakemake_executor_plugin_osgpilot.scaling_study.scenarios import SCENARIOS
from snakemake_executor_plugin_osgpilot.simulator.model import Moment, Outcome
from snakemake_executor_plugin_osgpilot.simulator.world import run

HERE = Path(__file__).parent
WORKFLOWS = {"bag": 1000, "rounds": 1000, "tail": 600}
"""Families of workflows that the simulator knows, and how many jobs they have here."""

COST_WEIGHTS = (0.0, 0.5, 0.8)
SEED = 0
PILOTS_MAX = 200

POINTS = 140
WIDTH, HEIGHT = 250, 150
LEFT, TOP, GAP, BELOW = 40, 44, 24, 62

STYLE = """
text { font: 11px sans-serif; fill: #24292f }
.title { font-weight: bold }
.wanted { fill: none; stroke: #d55e00; stroke-width: 1.5 }
.there { fill: #56b4e9; fill-opacity: .45 }
.busy { fill: #0072b2 }
.axis { fill: none; stroke: #8c959f }
@media (prefers-color-scheme: dark) { text { fill: #e6edf3 } .wanted { stroke: #ff9d4d } }
"""


class Panel(NamedTuple):
    """One run: at evenly spaced times, the cores that are wanted, there and busy."""

    title: str
    said: str
    end_s: float
    wanted: list[float]
    there: list[float]
    busy: list[float]


def panel(family: str, jobs: int, cost_weight: float) -> Panel:
    """Simulate a run and return what to draw of it."""
    scenario = SCENARIOS[family]
    workload = scenario.workload(SEED, jobs)
    policy = replace(
        scenario.policy(workload),
        cost_weight=cost_weight,
        pilots_max=PILOTS_MAX,
        pending_max=PILOTS_MAX,
        cores_max=None,
    )
    outcome = run(workload, scenario.site, plan, policy, SEED)
    end_s = outcome.makespan_s
    at_s = [end_s * place / (POINTS - 1) for place in range(POINTS)]
    moments = list(_sampled(outcome.series, at_s))
    return Panel(
        f"cost weight {cost_weight:g}",
        _said(outcome),
        end_s,
        [moment.waiting + moment.running for moment in moments],
        [moment.ready for moment in moments],
        [moment.running for moment in moments],
    )


def _said(outcome: Outcome) -> str:
    charged_core_h = outcome.charged_core_s / 3600
    return f"{outcome.makespan_s / 60:.0f} min, {charged_core_h:.0f} core-hours"


def _sampled(series: Sequence[Moment], at_s: Iterable[float]) -> Iterable[Moment]:
    """Yield the latest moment at each of the times."""
    number = 0
    for time_s in at_s:
        while number + 1 < len(series) and series[number + 1].at_s <= time_s:
            number += 1
        yield series[number]


def picture(panels: Sequence[Panel]) -> str:
    """Return the panels side by side as SVG, all with the same axes."""
    top = max(max(each.there) for each in panels)
    top = next(step for step in (200, 400, 600, 800, 1000, 2000, 4000) if step >= top)
    end_s = max(each.end_s for each in panels)
    width = LEFT + len(panels) * (WIDTH + GAP) - GAP + 4
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {TOP + HEIGHT + BELOW}">',
        f"<style>{STYLE}</style>",
    ]
    for number, each in enumerate(panels):
        parts += _drawn(each, LEFT + number * (WIDTH + GAP), top, end_s)
    for part in (0, 0.5, 1):
        y = TOP + HEIGHT * (1 - part)
        parts.append(f'<text x="{LEFT - 6}" y="{y + 4:g}" text-anchor="end">{top * part:g}</text>')
    parts += [f'<text x="4" y="{TOP - 12}">cores</text>', *_legend(TOP + HEIGHT + 46), "</svg>"]
    return "\n".join(parts) + "\n"


def _drawn(panel: Panel, x: float, top: float, end_s: float) -> list[str]:
    """Return one panel: areas of what is there and busy, a line for what is wanted."""

    def corners(values: Sequence[float]) -> str:
        points = []
        for number, value in enumerate(values):
            at = x + WIDTH * panel.end_s / end_s * number / (len(values) - 1)
            points.append(f"{at:.0f},{TOP + HEIGHT * (1 - min(value / top, 1)):.0f}")
        return " ".join(points)

    def area(values: Sequence[float]) -> str:
        last = x + WIDTH * panel.end_s / end_s
        return f"{x:g},{TOP + HEIGHT} {corners(values)} {last:.0f},{TOP + HEIGHT}"

    floor = TOP + HEIGHT
    return [
        f'<text class="title" x="{x}" y="14">{panel.title}</text>',
        f'<text x="{x}" y="30">{panel.said}</text>',
        f'<polygon class="there" points="{area(panel.there)}"/>',
        f'<polygon class="busy" points="{area(panel.busy)}"/>',
        f'<polyline class="wanted" points="{corners(panel.wanted)}"/>',
        f'<path class="axis" d="M{x} {TOP}V{floor}H{x + WIDTH}"/>',
        f'<text x="{x}" y="{floor + 16}">0</text>',
        f'<text x="{x + WIDTH}" y="{floor + 16}" text-anchor="end">{end_s / 60:.0f} min</text>',
    ]


def _legend(y: float) -> list[str]:
    return [
        f'<path class="wanted" d="M{LEFT} {y - 4}h24"/>',
        f'<text x="{LEFT + 30}" y="{y}">cores that jobs ask for (cut off above)</text>',
        f'<rect class="there" x="{LEFT + 262}" y="{y - 10}" width="24" height="12"/>',
        f'<text x="{LEFT + 292}" y="{y}">cores there</text>',
        f'<rect class="busy" x="{LEFT + 382}" y="{y - 10}" width="24" height="12"/>',
        f'<text x="{LEFT + 412}" y="{y}">cores busy</text>',
    ]


def main() -> None:
    """Write all pictures, and say what they show."""
    for family, jobs in WORKFLOWS.items():
        panels = [panel(family, jobs, cost_weight) for cost_weight in COST_WEIGHTS]
        (HERE / f"scaling-{family}.svg").write_text(picture(panels), encoding="utf-8")
        for each in panels:
            print(f"{family}, {each.title}: {each.said}")


if __name__ == "__main__":
    main()
