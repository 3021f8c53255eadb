"""A run's numbers in the text format that Prometheus reads. Pure.

https://prometheus.io/docs/instrumenting/exposition_formats/, "Text-based format"; names and units
as in "Metric and label naming".
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from ..common.printable import printable
from .summary import STATES, RunState, View


def text(view: View) -> str:
    """Return the run's metrics; times in seconds, as the format demands."""
    return "".join(f"{line}\n" for line in _lines(view))


def _lines(view: View) -> Iterator[str]:
    run, eta = _labels(run=view.run, project=view.project), view.progress.eta
    yield from _gauge("up", "Whether Snakemake works on the run.")
    yield f"osgpilot_up{{{run}}} {int(view.state is RunState.RUNNING)}"
    yield from _gauge("jobs", "Jobs of the run by rule and state.")
    for name, rule in view.rules.items():
        for state in STATES:
            labels = f"{run},{_labels(rule=name, state=state)}"
            yield f"osgpilot_jobs{{{labels}}} {getattr(rule, state)}"
    yield from _gauge("retries", "Jobs that were submitted again after a failure, by rule.")
    for name, rule in view.rules.items():
        yield f"osgpilot_retries{{{run},{_labels(rule=name)}}} {rule.retries}"
    yield from _gauge("pilots", "Pilots by state.")
    for state, count in sorted(Counter(pilot.state for pilot in view.pilots).items()):
        yield f"osgpilot_pilots{{{run},{_labels(state=state)}}} {count}"
    for name, about, value in (
        ("demand_cores", "Cores that waiting jobs ask for.", view.demand_cores),
        ("supply_cores", "Cores of pilots that serve or will.", view.supply_cores),
        ("busy_cores", "Cores that run a job.", view.busy_cores),
        ("used_core_seconds", "Core-seconds in jobs.", 3600 * view.used_core_h),
        ("charged_core_seconds", "Core-seconds of allocations.", 3600 * view.charged_core_h),
        ("budget_left_core_seconds", "Core-seconds left.", _core_s(view.left_core_h)),
        ("queue_wait_seconds", "Wait that a new pilot is expected to have.", view.queue_wait_s),
        (
            "eta_low_seconds",
            "Seconds until the run ends, at best.",
            None if eta is None else eta.low_s,
        ),
        (
            "eta_high_seconds",
            "The same with the pilots that serve now; missing where runtimes are not known yet.",
            None if eta is None or eta.unknown else eta.high_s,
        ),
        ("last_sign_timestamp_seconds", "Time that the numbers are of.", view.at_s),
    ):
        if value is not None:
            yield from _gauge(name, about)
            yield (
                f"osgpilot_{name}{{{run}}} {value:.10g}"
                if value < 1e9
                else (f"osgpilot_{name}{{{run}}} {value:.0f}")
            )


def _core_s(core_h: float | None) -> float | None:
    return None if core_h is None else 3600 * core_h


def _gauge(name: str, about: str) -> Iterator[str]:
    yield f"# HELP osgpilot_{name} {about}"
    yield f"# TYPE osgpilot_{name} gauge"


def _labels(**labels: str) -> str:
    return ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items())


def _escaped(value: str) -> str:
    # the file is to be UTF-8, and its reader may show it on a terminal
    return printable(value).replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
