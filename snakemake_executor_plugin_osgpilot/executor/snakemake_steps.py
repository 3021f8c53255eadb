"""Snakemake's own count of its jobs, which it calls steps: local ones and members of groups too."""

from __future__ import annotations

from typing import Any

from ..monitoring.progress import Steps


class SnakemakeSteps:
    """Reads the counts of the scheduler of a workflow (`JobScheduler`, 9.27.1)."""

    def __init__(self, workflow: Any) -> None:
        self._workflow = workflow

    def __call__(self) -> Steps | None:
        """Return the counts, None before the scheduler exists. Any thread may call this."""
        scheduler = self._workflow.scheduler
        if scheduler is None:
            return None
        failed = sum(map(len, list(scheduler.failed)))
        return Steps(scheduler.finished_jobs, len(self._workflow.dag), failed)
