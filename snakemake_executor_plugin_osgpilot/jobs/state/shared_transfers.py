"""Assign transfers in the event log to the images and inputs that jobs of a cluster share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from .events import ImageSent
from .job import Job


class SharedTransfers:
    """The transfers that the log has and that nobody has taken; `_arrivals` counts by cluster.

    The log does not say what arrived. HTCondor sends all that a pilot lacks of what a job shares,
    in its order, so it is taken to arrive in turns.
    """

    def __init__(self) -> None:
        self._sent: list[tuple[str, float]] = []
        self._arrivals: Counter[str] = Counter()

    def add(self, process: str, at_s: float) -> None:
        """Record that a pilot has got something; the transfer has the cluster of the jobs."""
        self._sent.append((process, at_s))

    def take(self, job_of: Callable[[str], Job | None]) -> list[ImageSent]:
        """Return the transfers since the last call, but for those of clusters without a job so far:
        the answer to their submission is still to come.
        """
        taken, self._sent = self._sent, []
        found = []
        for process, at_s in taken:
            cluster = process.partition(".")[0]
            job = job_of(cluster)
            if job is None:
                self.add(process, at_s)
                continue
            shared = _shared_by(job)
            image, input_bytes = shared[self._arrivals[cluster] % len(shared)]
            self._arrivals[cluster] += 1
            found.append(ImageSent(process, at_s, image, input_bytes))
        return found


def _shared_by(job: Job) -> list[tuple[str, int]]:
    """Return the image that a job shares and the sizes of its inputs, in the order in which they
    are sent.
    """
    request = job.request
    by_each = request.transfer_image and request.common and request.container_image.endswith(".sif")
    image = [(request.container_image, 0)] if by_each or not job.shared else []
    return image + [("", each.size_bytes) for each in job.shared]
