"""The critical path: the longest chain of dependent jobs or rules."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping
from functools import lru_cache
from typing import TypeVar

from ...model.resources import JobClass
from .estimates import Estimates

Node = TypeVar("Node", bound=Hashable)


def longest_path(
    nodes: Collection[Node],
    needs: Callable[[Node], Iterable[Node]],
    length_s: Callable[[Node], float],
) -> list[Node]:
    """Return the longest path through `nodes`, the last one first; `needs` returns dependencies.

    Dependencies outside `nodes` do not count. A node in a cycle, as rules may form, counts once.
    """
    until_s: dict[Node, float] = {}
    before: dict[Node, Node | None] = {}
    begun: set[Node] = set()
    # depth first, without recursion: chains may be of any length
    open_now: list[Node] = []
    for node in nodes:
        open_now.append(node)
        while open_now:
            link = open_now[-1]
            if link not in begun:
                begun.add(link)
                unknown = (other for other in needs(link) if other not in begun)
                open_now += [other for other in unknown if other in nodes]
                continue
            open_now.pop()
            if link not in until_s:
                known = [other for other in needs(link) if other in until_s]
                last = before[link] = max(known, key=until_s.__getitem__, default=None)
                until_s[link] = length_s(link) + (0.0 if last is None else until_s[last])
    return _along(max(until_s, key=until_s.__getitem__, default=None), before)


def longest_after(
    nodes: Collection[Node],
    needs: Callable[[Node], Iterable[Node]],
    length_s: Callable[[Node], float],
) -> dict[Node, float]:
    """Return the length of the longest path after each of `nodes`, 0 for those that none needs."""
    after_s = dict.fromkeys(nodes, 0.0)
    open_needs = dict.fromkeys(nodes, 0)
    for node in nodes:
        for other in needs(node):
            if other in open_needs:
                open_needs[other] += 1
    # from the last ones on; what is left is in a cycle
    ready = [node for node, count in open_needs.items() if not count]
    while ready:
        node = ready.pop()
        until_s = length_s(node) + after_s[node]
        for other in needs(node):
            if other not in open_needs:
                continue
            after_s[other] = max(after_s[other], until_s)
            open_needs[other] -= 1
            if not open_needs[other]:
                ready.append(other)
    return after_s


def longest_chain(
    jobs: Collection[Node],
    needs: Callable[[Node], Iterable[Node]],
    class_of: Callable[[Node], JobClass | None],
) -> Counter[JobClass]:
    """Return the jobs of the longest chain by class, measured by the runtimes their rules declare.

    Jobs without a class do not count. Declared runtimes suffice to find the chain; `chain_s`
    measures it with the estimates of the moment.
    """
    path = longest_path(jobs, needs, lambda job: prior_s(class_of(job)))
    return Counter(job_class for job in path if (job_class := class_of(job)))


def chain_s(chain: Mapping[JobClass, int], estimates: Estimates) -> float:
    """Return the expected total runtime of a chain."""
    return sum(jobs * estimates.runtime_s(job_class) for job_class, jobs in chain.items())


@lru_cache(maxsize=4096)
def prior_s(job_class: JobClass | None) -> float:
    """Return the expected runtime of a job before any of its class has ended; 0 for no class."""
    return Estimates().runtime_s(job_class) if job_class else 0.0


def _along(link: Node | None, before: Mapping[Node, Node | None]) -> list[Node]:
    path: list[Node] = []
    while link is not None:
        path.append(link)
        link = before[link]
    return path
