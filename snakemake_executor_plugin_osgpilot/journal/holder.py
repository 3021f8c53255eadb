"""Who holds a run, and whether that process is still there."""

from __future__ import annotations

from dataclasses import dataclass

LEASE_S = 900.0
"""A workflow whose sign of life is older than this is gone (the same in pilot.sh)."""

_NO_NAMES = ("", "localhost", "localhost.localdomain")


@dataclass(frozen=True)
class RunOwner:
    """A process. `boot` is the id of the system's start, `space` that of its process numbers,
    `started` tells processes with the same number apart; empty where the system does not say.
    """

    host: str
    boot: str
    space: str
    pid: int
    started: str
    since_s: float

    def sees(self, other: RunOwner) -> bool:
        """Whether the number of `other` means the same process here as there."""
        same = (self.host, self.boot, self.space) == (other.host, other.boot, other.space)
        return same and bool(self.boot and self.space)

    def outlived(self, other: RunOwner) -> bool:
        """Whether this machine was started anew since `other` was running on it."""
        named = self.host == other.host and self.host not in _NO_NAMES
        return named and bool(self.boot and other.boot) and self.boot != other.boot


def is_alive(holder: RunOwner, here: RunOwner, started: str, lease_age_s: float | None) -> bool:
    """Whether `holder` still works on its run, or may.

    `here` is this process, `started` the start of the process that has the holder's number here
    (empty: there is none). Where numbers mean nothing, the lease tells; if its age is not known
    (None), nothing is concluded.
    """
    if here.sees(holder):
        return bool(started) and started == holder.started
    if here.outlived(holder):
        return False
    return lease_age_s is None or lease_age_s < LEASE_S
