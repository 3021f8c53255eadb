"""Show the progress of a build: live on a terminal, one line per event elsewhere."""

from __future__ import annotations

import time
from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import TaskID

WORDS = {
    "host": "Debian tree of the hosts (Slurm, HTCondor, Apptainer)",
    "jobtree": "Debian tree of the job image",
    "conf": "configuration of the hosts",
    "venv": "Python environment",
    "pilot": "pilot image",
    "job": "job image",
    "runtime": "image with Snakemake",
}


class Progress:
    """Context manager; `watch` shows stages, `say` any other text."""

    def __init__(self) -> None:
        # every start of Snakemake imports this module, few of them build something
        from rich.console import Console
        from rich.progress import Progress as Bars
        from rich.progress import SpinnerColumn, TextColumn, TimeElapsedColumn

        self._console = Console(stderr=True)
        self._live = self._console.is_terminal
        self._started_s = time.monotonic()
        self._bars = Bars(
            SpinnerColumn(finished_text="✓"),
            TextColumn("{task.description}"),
            TimeElapsedColumn(),
            console=self._console,
            disable=not self._live,
        )
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> Progress:
        self._bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bars.stop()

    def say(self, text: str) -> None:
        """Show a line of text."""
        elapsed_s = time.monotonic() - self._started_s
        self._console.print(f"[{elapsed_s:5.1f} s] {text}", markup=False, highlight=False)

    def watch(self, stage: str, event: str) -> None:
        """Show that `stage` has "started", "finished", is "cached" or "failed"."""
        words = WORDS.get(stage, stage)
        if not self._live or event in ("cached", "failed"):
            self.say(f"{words}: {event}")
        if self._live and event == "started":
            self._tasks[stage] = self._bars.add_task(words, total=1)
        elif stage in self._tasks and event == "finished":
            self._bars.update(self._tasks[stage], completed=1)
        elif stage in self._tasks:
            self._bars.stop_task(self._tasks[stage])
