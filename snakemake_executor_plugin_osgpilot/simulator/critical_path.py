"""The longest chain of unfinished jobs, updated as jobs end."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Sequence

from ..model.resources import JobClass
from ..scaling.planner.critical_path import prior_s
from .model import CSR


class Chains:
    """Every job begins a chain: itself, then the longest one of a follower.

    Chains of the same classes in the same order are one; a few of them serve many jobs.
    """

    def __init__(
        self, classes: Sequence[JobClass], class_of: Callable[[int], int], children: CSR
    ) -> None:
        self._classes = classes
        said = [prior_s(job_class) for job_class in classes]
        numbers: dict[tuple[int, int], int] = {}
        self._links: list[tuple[int, int]] = []
        self._length_s = length_s = list[float]()
        self._chain_of = array("L", bytes(len(children) * array("L").itemsize))
        self._jobs: Counter[int] = Counter()
        for job in reversed(range(len(children))):
            rests = (self._chain_of[child] for child in children[job])
            rest = max(rests, key=length_s.__getitem__, default=-1)
            link = class_of(job), rest
            if link not in numbers:
                numbers[link] = len(numbers)
                self._links.append(link)
                length_s.append(said[link[0]] + (length_s[rest] if rest >= 0 else 0.0))
            self._chain_of[job] = numbers[link]
            self._jobs[numbers[link]] += 1
        self._longest_last = sorted(self._jobs, key=length_s.__getitem__)

    def length_s(self, job: int) -> float:
        """Return the expected time of the chain that a job begins."""
        return self._length_s[self._chain_of[job]]

    def ended(self, job: int) -> None:
        """Record the end of a job."""
        self._jobs[self._chain_of[job]] -= 1

    def longest(self) -> Counter[JobClass]:
        """Return the jobs of the longest chain that is left, by class."""
        while self._longest_last and not self._jobs[self._longest_last[-1]]:
            self._longest_last.pop()
        found: Counter[JobClass] = Counter()
        chain = self._longest_last[-1] if self._longest_last else -1
        while chain >= 0:
            number, chain = self._links[chain]
            found[self._classes[number]] += 1
        return found
