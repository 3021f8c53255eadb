"""The end of a run removes its files from clusters behind SSH."""

from dataclasses import dataclass, field
from types import SimpleNamespace

import pytest

from snakemake_executor_plugin_osgpilot.errors import NotSentError
from snakemake_executor_plugin_osgpilot.journal.location import Place, SiteLocation
from snakemake_executor_plugin_osgpilot.model.identity import RunIdentity
from snakemake_executor_plugin_osgpilot.run.resume import take
from snakemake_executor_plugin_osgpilot.run.shutdown import Shutdown

HERE = Place(
    site="A", ssh="one", folder="/home/alice/r",
    others=(SiteLocation("B", "one", "", "/home/alice/r"), SiteLocation("C", "two", "", "/r"),
            SiteLocation("D", "three"), SiteLocation("E")),
)  # fmt: skip


@dataclass
class Access:
    """The access to a site, whose folder is `cleared` at the end of a run."""

    name: str
    cleared: list[str]
    is_down: bool = False
    host: SimpleNamespace = field(default_factory=lambda: SimpleNamespace(close=lambda: None))

    @property
    def site(self):
        return SimpleNamespace(resource=self.name)

    def reach(self):
        if self.is_down:
            raise NotSentError("no answer")
        return SimpleNamespace(
            clean_up=lambda run: self.cleared.append(self.name),
            extend_lease=lambda run, until_s: None,
        )


@pytest.fixture
def ended(tmp_path):
    """End a run; return the sites where folders were removed."""

    def ended(*live, down=""):
        taken = take(tmp_path, RunIdentity("alice", "P", "any"))
        taken.settle_at(HERE)
        cleared = []
        sites = tuple(Access(name, cleared, name == down) for name in "ABCDE")
        controller = SimpleNamespace(close=lambda hurry: not live)
        fleet = SimpleNamespace(live=[SimpleNamespace(site=name) for name in live])
        closed = SimpleNamespace(close=lambda: None)
        Shutdown(controller, closed, sites, taken, fleet, "cancel").end(interrupted=False)
        return cleared

    return ended


def test_folders_where_no_pilot_is_left_are_removed(ended):
    assert ended() == ["A", "B", "C"], "nothing exists at the others"


@pytest.mark.parametrize("live", ["A", "B", "of an earlier version"])
def test_the_folder_of_a_pilot_that_may_live_stays_though_another_site_has_it_too(ended, live):
    assert ended(live) == ["C"]


def test_a_folder_at_a_site_that_does_not_answer_is_named(ended, logged):
    assert ended(down="C") == ["A", "B"]
    assert logged.warnings == ["could not remove /r on two: no answer"]
