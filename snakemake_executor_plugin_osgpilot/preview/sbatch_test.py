"""Slurm's verdict on pilots that are not submitted yet."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from ..journal.run_folder import RunFolder
from ..model.identity import RunIdentity
from ..model.resources import Pilot, Policy
from ..pilots.parameters import SCRIPT, script
from ..pilots.requests import SiteRequests
from ..scaling.autoscaler import worth_a_hint
from ..slurm import commands
from ..slurm.client import SlurmClient
from ..slurm.cluster import Cluster
from .result import Verdict


class SlurmVerdicts:
    """Tests pilots of a run in `folder` with `sbatch --test-only`, each at its site.

    Those of a site that is in none of the `clusters` are not tested.
    """

    def __init__(self, clusters: Iterable[Cluster], seat: RunIdentity, folder: RunFolder) -> None:
        self._tests: dict[str, _Test] = {}
        for cluster in clusters:
            there = cluster.folder(folder)
            requests = SiteRequests(cluster.site, seat, there)
            test = _Test(cluster, requests, there.path / SCRIPT)
            self._tests |= dict.fromkeys(requests.offers, test)
        self._known: dict[tuple[str, int], Verdict] = {}

    def hints(self, policy: Policy) -> dict[str, float]:
        """Return the waits that Slurm estimates, by offer, as a run queries them at its start."""
        asked = [(offer.name, offer.walltimes_s[0]) for offer in worth_a_hint(policy)]
        found = (
            (name, self._verdict(name, walltime_s).wait_s)
            for name, walltime_s in asked
            if name in self._tests
        )
        return {name: wait_s for name, wait_s in found if wait_s is not None}

    def cores(self) -> dict[str, int]:
        """Return what Slurm would give the pilots that it was asked about, by offer."""
        asked = ((verdict.offer, verdict.cores) for verdict in self._known.values())
        return {offer: cores for offer, cores in asked if cores}

    def verdicts(self, pilots: Iterable[tuple[str, int]]) -> tuple[Verdict, ...]:
        """Return the verdict on each offer with its walltime in seconds.

        Raises `OutcomeUnknownError`.
        """
        return tuple(self._verdict(*pilot) for pilot in sorted(pilots))

    def _verdict(self, offer: str, walltime_s: int) -> Verdict:
        if (offer, walltime_s) not in self._known:
            self._known[offer, walltime_s] = self._tests[offer].ask(offer, walltime_s)
        return self._known[offer, walltime_s]


@dataclass(frozen=True)
class _Test:
    """Tests pilots at one site; `path` is that of their script there."""

    cluster: Cluster
    requests: SiteRequests
    path: Path

    @cached_property
    def _client(self) -> SlurmClient:
        cluster = self.cluster
        return SlurmClient(cluster.host, cluster.user, cluster.site.slurm, self.path)

    def ask(self, offer: str, walltime_s: int) -> Verdict:
        name, shape = self.requests.name(1), self.requests.offers[offer].shape
        pilot = Pilot(name, shape, offer=offer, walltime_s=walltime_s)
        allocation = self.requests.allocation(pilot)
        # a pilot's folder is made with its files; this one has none
        anywhere = replace(allocation, folder=Path("/tmp"))
        accepted, said, expected = self._client.verdict(anywhere, script())
        wait_s, cores = expected or (None, 0)
        argv = commands.sbatch(allocation, self.cluster.site.slurm, self.path)
        return Verdict(offer, shape, accepted, said, wait_s, cores, tuple(argv), allocation.files)
