"""Pass the result of a preview executor out of Snakemake, without running anything."""

from __future__ import annotations

from ..errors import OsgpilotError


class Ended(BaseException):
    """Carries the result out of Snakemake, which would print any `Exception` as a failure."""

    def __init__(self, found: object, error: OsgpilotError | None = None) -> None:
        super().__init__("the plan is made")
        self.found, self.error = found, error
