"""The comparison as one page of HTML that needs nothing else, and as a table for documents."""

from __future__ import annotations

import math
from collections.abc import Sequence
from importlib.resources import files

from jinja2 import Environment

from .policies.registry import OURS
from .table import Headline, Interval, Row, headline


def html(rows: Sequence[Row], picture_svg: str, command: str) -> str:
    """Return the page. `command` is what makes it again."""
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"interval": text, "percent": percent}
    environment.filters["paired"] = lambda value: text(Interval(*value))
    source = files(__package__).joinpath("page.html.j2").read_text(encoding="utf-8")
    names = list(dict.fromkeys(row.scenario for row in rows))
    return environment.from_string(source).render(
        scenarios={name: [row for row in rows if row.scenario == name] for name in names},
        summary=summary(headline(rows)),
        picture=picture_svg[picture_svg.index("<svg") :],
        command=command,
    )


def markdown(rows: Sequence[Row]) -> str:
    """Return headline and table in Markdown: of peers, what was tuned for balance; ours first."""
    lines = [
        *summary(headline(rows)),
        "",
        "| workload | policy | in any order | makespan/T* | charged/CH* | CT by ours | flow, min "
        "| never used | launched (/needed) | first job | failed starts | on the front |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        if row.taste not in ("", "balanced"):
            continue
        ratio = f" ({row.overlaunched:.2f})" if math.isfinite(row.overlaunched) else ""
        cells = (
            row.scenario,
            row.rule + ("" if row.done == 1 else f" ({percent(row.done)} of runs ended)"),
            text(row.makespan_any_order),
            text(row.makespan),
            text(row.charged),
            "" if row.rule == OURS else text(Interval(*row.by_ours)),
            text(row.flow_min, 0),
            percent(row.never_used),
            f"{row.launched:.0f}{ratio}",
            text(row.first_job_s, 0) + (" s" if math.isfinite(row.first_job_s.median) else ""),
            f"{row.failed_starts.median:.0f}",
            "yes" if row.on_front else "",
        )
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def summary(found: Headline) -> list[str]:
    """Return the headline as lines of text."""
    means = sorted(found.ct.items(), key=lambda each: (each[0] != OURS, each[1]))
    listed = ", ".join(f"{rule} {ct:.3f}" for rule, ct in means)
    lost = ", ".join(
        f"{name} ({row.rule}, by {percent(round(1 - row.by_ours.ratio, 3))})"
        for name, row in found.lost.items()
    )
    return [
        f"Geometric mean of CT (makespan/T* × charged/CH*) over the workloads: {listed}.",
        f"A peer has a smaller CT on: {lost or 'none'}.",
    ]


def text(value: Interval, digits: int = 2) -> str:
    """Return a median with its interval, a dash for what did not end."""
    if not math.isfinite(value.median):
        return "–"
    low, high = (f"{edge:.{digits}f}" for edge in value[1:])
    return f"{value.median:.{digits}f}" + (f" [{low}, {high}]" if low != high else "")


def percent(share: float) -> str:
    """Return a share in per cent."""
    return f"{100 * share:.3g} %"
