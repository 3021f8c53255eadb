"""How a run stands, as its folder tells. What cannot be read proves nothing."""

from __future__ import annotations

from contextlib import closing, suppress

from snakemake_executor_plugin_osgpilot.errors import (
    InputError,
    JournalDamagedError,
    MissingPrerequisiteError,
    NeverBegunError,
    OsgpilotError,
)
from snakemake_executor_plugin_osgpilot.journal.holder import LEASE_S
from snakemake_executor_plugin_osgpilot.journal.lease import is_alive_in, lease_age_s
from snakemake_executor_plugin_osgpilot.journal.location import Place
from snakemake_executor_plugin_osgpilot.journal.run_folder import JOURNAL, RunFolder
from snakemake_executor_plugin_osgpilot.journal.store import Journal
from snakemake_executor_plugin_osgpilot.run.leftovers import RunStatus, is_run


def place_of(folder: RunFolder) -> Place | None:
    """Return where a run that may have left something is; None if no journal tells."""
    with suppress(OsgpilotError, OSError):
        if (folder.path / JOURNAL).exists():
            with closing(Journal(folder.path / JOURNAL)) as journal:
                return None if journal.is_finished else journal.place
    return None


def fate_of(folder: RunFolder, *, is_here: bool) -> tuple[RunStatus, str]:
    """Return how a run stands, and why that cannot be told if so.

    `is_here` says that this machine's queue has jobs of it.
    """
    try:
        return _fate(folder, is_here=is_here), ""
    except NeverBegunError:
        return RunStatus.NEVER_BEGUN, ""
    except JournalDamagedError as error:
        unknown = lease_age_s(folder) is None
        return (RunStatus.UNREADABLE if unknown else _without_journal(folder, RunStatus.DEAD)), str(
            error
        )
    except (InputError, MissingPrerequisiteError) as error:
        return RunStatus.UNREADABLE, str(error)
    except OSError as error:
        return RunStatus.UNREADABLE, f"{error.filename or folder.path}: {error.strerror}"


def _fate(folder: RunFolder, *, is_here: bool) -> RunStatus:
    if not folder.path.is_dir():
        return RunStatus.GONE if is_here else RunStatus.UNSEEN
    if not (folder.path / JOURNAL).exists():
        # the name of the run tells that it is no folder of somebody else's
        bare = is_run(folder.path.name) and folder.is_bare()
        return RunStatus.NEVER_BEGUN if bare else _without_journal(folder, RunStatus.GONE)
    with closing(Journal(folder.path / JOURNAL)) as journal:
        journal.check()
        holder = journal.holder
        if journal.is_finished:
            return RunStatus.FINISHED
    age_s = lease_age_s(folder)
    if holder is None:
        return RunStatus.DETACHED if age_s is not None and age_s < 0 else RunStatus.DEAD
    return RunStatus.ALIVE if is_alive_in(folder, holder) else RunStatus.DEAD


def _without_journal(folder: RunFolder, otherwise: RunStatus) -> RunStatus:
    """Return how a run stands that only its lease tells of."""
    age_s = lease_age_s(folder)
    return RunStatus.ALIVE if age_s is not None and age_s < LEASE_S else otherwise
