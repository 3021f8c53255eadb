"""The comparison as one page of HTML that needs nothing else, and as a table for documents."""

from __future__ import annotations

import math
from collections.abc import Sequence
from importlib.resources import files

from jinja2 import Environment

from .table import Interval, Row


def html(rows: Sequence[Row], picture_svg: str, command: str) -> str:
    """Return the page. `command` is what makes it again."""
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"interval": text, "percent": percent}
    source = files(__package__).joinpath("page.html.j2").read_text(encoding="utf-8")
    names = list(dict.fromkeys(row.scenario for row in rows))
    return environment.from_string(source).render(
        scenarios={name: [row for row in rows if row.scenario == name] for name in names},
        picture=picture_svg[picture_svg.index("<svg") :],
        command=command,
    )


def markdown(rows: Sequence[Row]) -> str:
    """Return the table in Markdown: of peers, what was tuned for balance; ours first."""
    lines = [
        "| workload | policy | makespan/T* | charged/CH* | never used | launched (/needed) "
        "| first job | failed starts | on the front |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        if row.taste not in ("", "balanced"):
            continue
        ratio = f" ({row.overlaunched:.2f})" if math.isfinite(row.overlaunched) else ""
        cells = (
            row.scenario,
            row.rule + ("" if row.done == 1 else f" ({percent(row.done)} of runs ended)"),
            text(row.makespan),
            text(row.charged),
            percent(row.never_used),
            f"{row.launched:.0f}{ratio}",
            text(row.first_job_s, 0) + (" s" if math.isfinite(row.first_job_s.median) else ""),
            f"{row.failed_starts.median:.0f}",
            "yes" if row.on_front else "",
        )
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def text(value: Interval, digits: int = 2) -> str:
    """Return a median with its interval, a dash for what did not end."""
    if not math.isfinite(value.median):
        return "–"
    low, high = (f"{edge:.{digits}f}" for edge in value[1:])
    return f"{value.median:.{digits}f}" + (f" [{low}, {high}]" if low != high else "")


def percent(share: float) -> str:
    """Return a share in per cent."""
    return f"{100 * share:.3g} %"
