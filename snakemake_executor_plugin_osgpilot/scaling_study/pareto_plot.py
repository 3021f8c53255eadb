"""The Pareto plane: for each workload, time against core-hours, both as multiples of the least."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..errors import MissingPrerequisiteError
from .policies.registry import OURS, RULES
from .table import Row

COLUMNS = 4
OURS_COLOUR = "#c0392b"
MARKERS = ("o", "s", "^", "v", "D", "P", "X", "<", ">", "h")


def check() -> None:
    """Raise `MissingPrerequisiteError` without matplotlib, which is better said before a long
    comparison.
    """
    if find_spec("matplotlib") is None:
        raise MissingPrerequisiteError(
            "the picture needs matplotlib: pip install "
            "'snakemake-executor-plugin-osgpilot[simulate]'"
        )


def svg(rows: Sequence[Row]) -> str:
    """Return the picture as SVG. Raises `MissingPrerequisiteError` without matplotlib."""
    check()
    names = list(dict.fromkeys(row.scenario for row in rows))
    lines = -(-len(names) // COLUMNS)
    # the same bytes for the same rows, and text that stays text
    with rc_context({"svg.hashsalt": "osgpilot", "svg.fonttype": "none", "font.size": 8}):
        figure = Figure(figsize=(3 * min(COLUMNS, len(names)), 2.6 * lines + 0.6))
        grid = list(figure.subplots(lines, min(COLUMNS, len(names)), squeeze=False).flat)
        for axes, name in zip(grid, names, strict=False):
            _plane(axes, name, [row for row in rows if row.scenario == name])
        for axes in grid[len(names) :]:
            axes.set_visible(False)
        _legend(figure.axes[0], figure)
        figure.tight_layout(rect=(0, 0.6 / (2.6 * lines + 0.6), 1, 1))
        text = io.StringIO()
        figure.savefig(text, format="svg", metadata={"Date": None})
    return text.getvalue()


def _plane(axes: Axes, name: str, rows: Sequence[Row]) -> None:
    axes.set_title(name)
    axes.set_xlabel("makespan / T*")
    axes.set_ylabel("charged / CH*")
    ended = [row for row in rows if math.isfinite(row.makespan.median)]
    if not ended:
        axes.text(0.5, 0.5, "no policy finished", ha="center", transform=axes.transAxes)
        return
    front = sorted((r.makespan.median, r.charged.median) for r in ended if r.on_front)
    axes.plot(*zip(*front, strict=True), color="#bbbbbb", linewidth=1, zorder=1)
    for row in ended:
        _point(axes, row)
    axes.set_xscale("log")
    axes.set_yscale("log")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(lambda value, _: f"{value:g}")
        axis.set_minor_formatter(lambda value, _: f"{value:g}" if value in (2, 3, 5) else "")


def _point(axes: Axes, row: Row) -> None:
    x, y = row.makespan, row.charged
    axes.errorbar(
        x.median,
        y.median,
        xerr=[[x.median - x.low], [x.high - x.median]],
        yerr=[[y.median - y.low], [y.high - y.median]],
        linewidth=0.5,
        zorder=3 if row.rule == OURS else 2,
        **_look(row.rule),
    )


def _look(rule: str) -> dict[str, Any]:
    if rule == OURS:
        return {"marker": "*", "color": OURS_COLOUR, "markersize": 11, "linestyle": "none"}
    place = list(RULES).index(rule)
    colour = f"C{place if place != 3 else 10 + place}"
    return {
        "marker": MARKERS[place % len(MARKERS)],
        "color": colour,
        "markersize": 4,
        "linestyle": "none",
    }


def _legend(axes: Axes, figure: Figure) -> None:
    handles = [axes.plot([], [], label=rule, **_look(rule))[0] for rule in (OURS, *RULES)]
    figure.legend(handles=handles, loc="lower center", ncols=6, frameon=False)
