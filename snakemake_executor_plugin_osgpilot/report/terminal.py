"""A view of a run for the terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from ..common.counting import count_of, size_of
from ..common.durations import duration, rough
from ..common.printable import one_line
from ..common.times import clock
from .summary import ENDED, STATES, FailureView, PilotView, RunState, Transfers, View

STYLES = {"ready": "green", "booting": "yellow", "pending": "cyan", "draining": "blue",
          "failed": "red"}  # fmt: skip
STATE_STYLES = {RunState.RUNNING: "green", RunState.DONE: "bold green", RunState.DETACHED: "bold"}
STATE_STYLES |= dict.fromkeys((RunState.LOST, RunState.FAILED, RunState.INTERRUPTED), "red")
BAR_WIDTH = 24
ALWAYS = ("waiting", "running", "done")
RECENT = 8
"""Maximum number of decisions and failures shown."""

ALLOCATIONS_MAX = 6
WIDE = 72
"""Columns below which some columns of tables are left out."""

FOR_WIDE = ("cores", "memory MB", "core-hours")
FULL = (
    "the history of this run has reached its limit: jobs, pilots and failures that came later are "
    "not shown, and all sums are too low"
)
PILOT_COLUMNS = (
    "site", "Slurm job", "state", "for", "node", "cores", "busy", "memory MB", "left",
    "core-hours", "why",
)  # fmt: skip


def screen(view: View, pilots_max: int | None = None) -> Group:
    """Return all of a run, with at most `pilots_max` pilots; those that serve come first."""
    parts: list[RenderableType] = [_head(view), _figures(view), Text(), _rules(view)]
    if view.pilots:
        parts += [Text(), _pilots(view, pilots_max), *_ends(view)]
    parts += [*_decisions(view), *_failures(view)]
    if view.error:
        parts.append(Text(f"\nstopped by an error: {one_line(view.error)}", style="red"))
    if view.is_full:
        parts += [Text(), Text(FULL, style="yellow")]
    return Group(*parts)


PARTS = ("rules", "pilots", "events")
"""Parts of the full screen, of which one at a time gets the room that is left."""

HEAD_LINES, SMALL_LINES = 9, 5


def full_screen(view: View, part: str, height: int) -> Group:
    """Return a run for a terminal of `height` lines, with as much as fits of one part."""
    large = max(3, height - HEAD_LINES - (len(PARTS) - 1) * (SMALL_LINES + 2))
    lines = {each: large if each == part else SMALL_LINES for each in PARTS}
    keys = "  ".join(f"[{each}]" if each == part else each for each in PARTS)
    return Group(
        _head(view), _figures(view), Text(), _rules(view, lines["rules"]), Text(),
        _pilots(view, lines["pilots"]), *_ends(view, 1), Text("\nlast events", style="bold"),
        *_events(view, lines["events"]), Text(f"\nq quit, tab {keys}", style="dim"),
    )  # fmt: skip


def _events(view: View, events_max: int) -> list[Text]:
    """Return the last decisions and failures, the newest last."""
    decided = [(each.at_s, each.text) for each in view.decisions]
    failed = [(each.at_s, f"failed: {_failure(each)}") for each in view.failures]
    return [_timed(*event) for event in sorted([*decided, *failed])[-events_max:]]


def _head(view: View) -> RenderableType:
    jobs = view.progress
    state = STATE_STYLES.get(view.state, "bold")
    lasted = f" for {duration(view.at_s - view.begun_s)}" if view.state is RunState.RUNNING else ""
    sessions = f", session {view.lives}" if view.lives > 1 else ""
    title = Text.assemble(
        (f"run {one_line(view.run)}", "bold"), f", project {one_line(view.project)}: ",
        (view.state, state), f"{lasted}{sessions}",
    )  # fmt: skip
    grid = Table.grid(padding=(0, 2))
    done, total, what = (
        (*jobs.steps[:2], "steps") if jobs.steps else (jobs.done, jobs.total, "jobs")
    )
    eta = Text(jobs.eta.text if jobs.eta else "", style="cyan")
    finished = "green" if view.state in (RunState.RUNNING, RunState.DONE) else "red"
    bar = ProgressBar(
        max(1, total), done, width=BAR_WIDTH, complete_style="cyan", finished_style=finished
    )
    session = " in this session" if view.lives > 1 and jobs.steps else ""
    grid.add_row(bar, Text(f"{done} of {total} {what} done{session}"), eta)
    return Group(title, grid)


def _figures(view: View) -> Table:
    """Return the key figures, each with its name."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim")
    grid.add_column(overflow="fold")
    jobs, pilots = view.progress.parts
    grid.add_row("jobs", jobs)
    if not _is_over(view):
        grid.add_row("pilots", f"{pilots}{_queue_wait(view)}")
        grid.add_row("cores", _cores(view))
    if len(view.sites) > 1:
        grid.add_row("sites", _sites(view))
    unused = view.pilots_never_used
    never = f"; {count_of(unused, 'pilot')} never used" if unused else ""
    grid.add_row("core-hours", f"{_spent(view)}{never}")
    if view.transfers.jobs:
        grid.add_row("transfers", transferred(view.transfers))
    took = f"{duration(view.makespan_s)} since the first submission"
    if view.bound_s:
        took += f"; {duration(view.bound_s)} at best, with any number of pilots"
    grid.add_row("time", took)
    return grid


def transferred(moved: Transfers) -> str:
    """Return what the access point sent, in total, to each job and to each pilot, and got back."""
    jobs, pilots = count_of(moved.jobs, "job"), count_of(moved.pilots, "pilot")
    each = f"{size_of(moved.to_jobs_mb)} to {jobs}, {size_of(moved.to_jobs_mb / moved.jobs)} each"
    if moved.images:
        images = count_of(moved.images, "image")
        each += f"; {size_of(moved.images_mb)} in {images} sent to {pilots}"
    if moved.shared:
        inputs = count_of(moved.shared, "copy of shared inputs", "copies of shared inputs")
        each += f"; {size_of(moved.shared_mb)} in {inputs} sent to {pilots}"
    back = size_of(moved.from_jobs_mb)
    return f"{size_of(moved.out_mb)} from the access point ({each}), {back} to it"


def _queue_wait(view: View) -> str:
    if view.queue_wait_s is None:
        return ""
    return f"; a new one waits about {duration(rough(view.queue_wait_s))} in Slurm's queue"


def _cores(view: View) -> str:
    return (
        f"{view.busy_cores} busy; jobs wait for {view.demand_cores}, pilots have or will have "
        f"{view.supply_cores}"
    )


def _sites(view: View) -> str:
    return "; ".join(
        f"{one_line(site)}: {count_of(seen.pilots, 'pilot')}, {seen.live} now, "
        f"{seen.charged_core_h:.3f} core-hours charged"
        for site, seen in view.sites.items()
    )


def _spent(view: View) -> str:
    share = f" ({view.used_core_h / view.charged_core_h:.0%})" if view.charged_core_h else ""
    spent = f"{view.used_core_h:.3f} used of {view.charged_core_h:.3f} charged{share}"
    if view.max_core_h is not None:
        spent += f", {view.left_core_h:.3f} of {view.max_core_h:.3f} left"
    return spent


@dataclass(frozen=True)
class _ByWidth:
    """Content that depends on the width of the terminal."""

    make: Callable[[int], RenderableType]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield self.make(options.max_width)


def _rules(view: View, rules_max: int | None = None) -> RenderableType:
    return _ByWidth(lambda width: _rules_in(width, view, rules_max))


def _rules_in(width: int, view: View, rules_max: int | None) -> RenderableType:
    table = Table(box=None, pad_edge=False, header_style="bold")
    # columns that are empty everywhere are left out: 80 have to do
    counted, rules = (*STATES, "retries"), view.rules.values()
    shown = [s for s in counted if s in ALWAYS or any(getattr(r, s) for r in rules)]
    table.add_column("rule", overflow="fold")
    for name in ("jobs", *shown, "core-hours"):
        table.add_column(name, justify="right", no_wrap=True)
    is_wide = width >= WIDE
    if is_wide:
        table.add_column("ran in Slurm jobs", overflow="fold")
    # those with something to do come first where not all are shown
    listed = list(view.rules.items())
    if rules_max is not None:
        listed.sort(key=lambda item: item[1].jobs == item[1].done)
    for name, rule in listed[:rules_max]:
        numbers = [rule.jobs, *(getattr(rule, state) for state in shown)]
        table.add_row(
            Text(one_line(name)),
            *(str(number) if number else "-" for number in numbers),
            f"{rule.core_h:.3f}",
            *([Text(one_line(_allocations(rule.allocations)))] if is_wide else ()),
        )
    rest = len(listed) - len(listed[:rules_max])
    return Group(table, Text(f"and {count_of(rest, 'more rule')}", style="dim")) if rest else table


def _allocations(listed: list[str]) -> str:
    """Return the Slurm jobs that a rule ran in; `--json` has all of them."""
    shown = sorted(listed, key=_number)[:ALLOCATIONS_MAX]
    rest = len(listed) - len(shown)
    return ", ".join(shown) + (f" and {rest:,} more" if rest else "")


def _number(allocation: str) -> tuple[int, str]:
    return int(allocation) if allocation.isdigit() else 0, allocation


def _is_over(view: View) -> bool:
    return view.state not in (RunState.RUNNING, RunState.DETACHED)


def _pilots(view: View, pilots_max: int | None) -> RenderableType:
    return _ByWidth(lambda width: _pilots_in(width, view, pilots_max))


def _pilots_in(width: int, view: View, pilots_max: int | None) -> RenderableType:
    listed = sorted(view.pilots, key=lambda pilot: pilot.state in ENDED)
    several = len(view.sites) > 1
    cells = [
        (Text(one_line(pilot.site) if several else ""), *_pilot_row(pilot))
        for pilot in listed[:pilots_max]
    ]
    # columns that are empty everywhere are left out: 80 have to do
    named = [n for n, name in enumerate(PILOT_COLUMNS) if width >= WIDE or name not in FOR_WIDE]
    shown = [number for number in named if any(row[number] for row in cells)]
    table = Table(box=None, pad_edge=False, header_style="bold")
    for number in shown:
        name = PILOT_COLUMNS[number]
        left = name in ("site", "state", "node", "why")
        table.add_column(name, justify="left" if left else "right", overflow="fold")
    for row in cells:
        table.add_row(*(row[number] for number in shown))
    rest = len(listed) - len(cells)
    return Group(table, Text(f"and {count_of(rest, 'more pilot')}", style="dim")) if rest else table


def _pilot_row(pilot: PilotView) -> tuple[RenderableType, ...]:
    over = pilot.state in ENDED
    return (
        Text(one_line(pilot.allocation or "?")),
        Text(one_line(pilot.state), style=STYLES.get(pilot.state, "")),
        "" if over else duration(pilot.for_s),
        Text(one_line(pilot.node)),
        str(pilot.cores),
        "" if over else f"{pilot.busy_cores}/{pilot.cores}",
        str(pilot.memory_mb),
        "" if pilot.left_s is None else duration(pilot.left_s),
        f"{pilot.charged_s * pilot.charged_cores / 3600:.3f}",
        "" if over else Text(one_line(pilot.why)),
    )


def _ends(view: View, lines_max: int | None = None) -> list[Text]:
    """Return a line for each of the last reasons why pilots ended: too long for a column.

    With `lines_max`, each takes one line of the screen.
    """
    ended: dict[str, list[PilotView]] = {}
    for pilot in sorted(view.pilots, key=lambda pilot: _number(pilot.allocation or "")):
        if pilot.state in ENDED and pilot.why:
            ended.setdefault(pilot.why, []).append(pilot)
    latest = sorted(ended.items(), key=lambda item: _number(item[1][-1].allocation or ""))
    return [
        Text(
            one_line(f"{_subject(pilots)}: {why}"),
            style=STYLES["failed"],
            no_wrap=lines_max is not None,
            overflow="fold" if lines_max is None else "ellipsis",
        )
        for why, pilots in latest[-(lines_max or RECENT) :]
    ]


def _subject(pilots: list[PilotView]) -> str:
    """Return how to name pilots that ended for the same reason."""
    label = _allocations([pilot.allocation or "?" for pilot in pilots])
    nodes = ", ".join(dict.fromkeys(pilot.node for pilot in pilots if pilot.node))
    return f"pilot{'s' * (len(pilots) > 1)} {label}" + (f" on {nodes}" if nodes else "")


def _decisions(view: View) -> Iterable[Text]:
    if view.decisions:
        yield Text("\nlast decisions", style="bold")
    for decision in view.decisions[-RECENT:]:
        yield _timed(decision.at_s, decision.text)


def _failures(view: View) -> Iterable[Text]:
    if view.failures:
        yield Text("\nfailed jobs", style="bold red")
    for failure in view.failures[-RECENT:]:
        yield _timed(failure.at_s, _failure(failure))


def _failure(failure: FailureView) -> str:
    label = f" ({failure.label})" if failure.label else ""
    again = "; retried" if failure.retried else ""
    return f"{failure.rule}{label}: {failure.summary}{again}"


def _timed(at_s: float, text: str) -> Text:
    return Text.assemble((clock(at_s), "dim"), f" {one_line(text)}")
