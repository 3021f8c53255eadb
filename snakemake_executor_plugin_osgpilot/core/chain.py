"""The longest chain of jobs that need one another: what no number of cores makes shorter."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping
from functools import lru_cache
from typing import TypeVar

from snakemake_executor_plugin_osgpilot.core.estimates import Estimates
from snakemake_executor_plugin_osgpilot.core.model import JobClass

Node = TypeVar("Node", bound=Hashable)


def longest_chain(
    jobs: Collection[Node],
    needs: Callable[[Node], Iterable[Node]],
    class_of: Callable[[Node], JobClass | None],
) -> Counter[JobClass]:
    """Return the jobs of the longest chain by class, measured by what their rules say.

    `needs` are the jobs that each waits for; those that are not among `jobs` do not count, nor do
    jobs of no class. What the rules say is enough to find the chain; how long it takes is for
    those to tell who know the runtimes by then.
    """
    length_s: dict[Node, float] = {}
    before: dict[Node, Node | None] = {}
    for job in jobs:
        # depth first, without recursion: chains may be of any length
        open_now = [job]
        while open_now:
            link = open_now[-1]
            needed = [other for other in needs(link) if other in jobs] if link not in before else []
            if unknown := [other for other in needed if other not in before]:
                open_now += unknown
                continue
            open_now.pop()
            if link not in before:
                last = before[link] = max(needed, key=length_s.__getitem__, default=None)
                before_s = 0.0 if last is None else length_s[last]
                length_s[link] = before_s + said_s(class_of(link))
    return _along(max(length_s, key=length_s.__getitem__, default=None), before, class_of)


def chain_s(chain: Mapping[JobClass, int], estimates: Estimates) -> float:
    """Return how long the jobs of a chain take one after the other."""
    return sum(jobs * estimates.runtime_s(job_class) for job_class, jobs in chain.items())


@lru_cache(maxsize=4096)
def said_s(job_class: JobClass | None) -> float:
    """Return what is expected of a job before any of its kind has ended; 0 for no class."""
    return Estimates().runtime_s(job_class) if job_class else 0.0


def _along(
    link: Node | None,
    before: Mapping[Node, Node | None],
    class_of: Callable[[Node], JobClass | None],
) -> Counter[JobClass]:
    chain: Counter[JobClass] = Counter()
    while link is not None:
        if job_class := class_of(link):
            chain[job_class] += 1
        link = before[link]
    return chain
