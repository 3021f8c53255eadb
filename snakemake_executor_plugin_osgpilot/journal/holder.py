"""The process that holds a run, and whether it is still alive."""

from __future__ import annotations

from dataclasses import dataclass

LEASE_S = 900.0
"""A workflow whose lease is older than this is dead (the same in pilot.sh)."""

_NO_NAMES = ("", "localhost", "localhost.localdomain")


@dataclass(frozen=True)
class RunOwner:
    """A process. `boot` is the boot id of the host, `space` the PID namespace, `started` the start
    time, which distinguishes processes with the same PID; empty where the system has no value.
    """

    host: str
    boot: str
    space: str
    pid: int
    started: str
    since_s: float

    def sees(self, other: RunOwner) -> bool:
        """Return True if the PID of `other` identifies the same process here."""
        same = (self.host, self.boot, self.space) == (other.host, other.boot, other.space)
        return same and bool(self.boot and self.space)

    def outlived(self, other: RunOwner) -> bool:
        """Return True if this host was rebooted since `other` was running on it."""
        named = self.host == other.host and self.host not in _NO_NAMES
        return named and bool(self.boot and other.boot) and self.boot != other.boot


def is_alive(holder: RunOwner, here: RunOwner, started: str, lease_age_s: float | None) -> bool:
    """Return True if `holder` is, or may be, alive.

    `here` is this process, `started` the start time of the process with the holder's PID here
    (empty: there is none). Where PIDs cannot be compared, the lease decides; if its age is unknown
    (None), the holder may be alive.
    """
    if here.sees(holder):
        return bool(started) and started == holder.started
    if here.outlived(holder):
        return False
    return lease_age_s is None or lease_age_s < LEASE_S
