"""The identity of a run at the access point."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class PilotSharing(StrEnum):
    """Jobs that may run on our pilots: those of this run, of this user, or of the whole project."""

    WORKFLOW = "workflow"
    OWNER = "owner"
    PROJECT = "project"

    @property
    def shared(self) -> bool:
        """True if jobs of others may run on our pilots."""
        return self is not PilotSharing.WORKFLOW


@dataclass(frozen=True)
class RunIdentity:
    """The names that restrict our pilots to our jobs at the access point."""

    owner: str
    project: str
    run: str
    pilot_sharing: PilotSharing = PilotSharing.WORKFLOW
