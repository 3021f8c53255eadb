"""A pool of fixed size, as somebody would start it by hand."""

from __future__ import annotations

from dataclasses import dataclass

from .base import Look, Rule, Verdict


@dataclass
class Static(Rule):
    """`pilots` from the beginning to the end; one that has ended is replaced while jobs are left.

    No source: what most guides tell users to do (osg-htc/docs, user-containers.md).
    """

    pilots: int = 10

    def decide(self, look: Look) -> Verdict:
        return Verdict(self.ask(self.pilots - len(look.live)))
