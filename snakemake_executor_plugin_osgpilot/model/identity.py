"""Who a run belongs to."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class PilotSharing(StrEnum):
    """Whose jobs may run on our pilots: those of this run, of this user, of the whole project."""

    WORKFLOW = "workflow"
    OWNER = "owner"
    PROJECT = "project"

    @property
    def shared(self) -> bool:
        """Whether others' jobs may be on our pilots."""
        return self is not PilotSharing.WORKFLOW


@dataclass(frozen=True)
class RunIdentity:
    """Who we are at the access point: the names that restrict our pilots to our jobs."""

    owner: str
    project: str
    run: str
    pilot_sharing: PilotSharing = PilotSharing.WORKFLOW
