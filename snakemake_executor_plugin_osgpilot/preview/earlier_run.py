"""Lead times of the latest run of the same folder."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from ..errors import InputError
from ..journal.run_folder import EARLIER_RUNS_MAX
from ..report.lead_times import LeadTimes, lead_times
from ..report.locate import Watched, newest_first


def earlier_leads(workdir: Path, offers: Collection[str]) -> LeadTimes | None:
    """Return the lead times of the latest run in which a pilot of `offers` was ready, None if none.

    Unreadable histories are skipped.
    """
    for folder in newest_first(workdir)[:EARLIER_RUNS_MAX]:
        with suppress(InputError):
            seen = lead_times(Watched(folder).look(), offers)
            if seen.boots_s:
                return seen
    return None
