"""Sites of a run that do not answer when it begins."""

from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest
from doubles import SEAT, HandClock
from doubles import site as a_site

from snakemake_executor_plugin_osgpilot.config.run_options import Limits, RunOptions
from snakemake_executor_plugin_osgpilot.config.site import SlurmOptions
from snakemake_executor_plugin_osgpilot.errors import (
    InputError,
    MissingPrerequisiteError,
    NotSentError,
    OutcomeUnknownError,
)
from snakemake_executor_plugin_osgpilot.journal.run_folder import RunFolder
from snakemake_executor_plugin_osgpilot.model.plan import Launch, Plan
from snakemake_executor_plugin_osgpilot.model.resources import Pilot, PilotState, Shape
from snakemake_executor_plugin_osgpilot.pilots.fleet import Fleet
from snakemake_executor_plugin_osgpilot.pilots.manager import PilotManager, PilotNumbers
from snakemake_executor_plugin_osgpilot.pilots.state.lifecycle import PilotObservations
from snakemake_executor_plugin_osgpilot.run import assembly
from snakemake_executor_plugin_osgpilot.run.assembly import preflight
from snakemake_executor_plugin_osgpilot.run.resume import take
from snakemake_executor_plugin_osgpilot.run.site_access import RunAtSite, SiteAccess
from snakemake_executor_plugin_osgpilot.slurm.host import Here
from snakemake_executor_plugin_osgpilot.slurm.ssh import Logins

RUN = "20260102-030405-abcdef"
REFUSED = "connect to host b port 22: Connection refused"


class FarConnection(Here):
    """A connection to another host, where those in `down` refuse and those in `broken` break off
    each command; else it is this machine.
    """

    down, broken = set(), set()

    def __init__(self, host):
        self.host = host

    def log_in(self):
        if self.host in self.down:
            raise MissingPrerequisiteError(REFUSED)

    def shell(self):
        if self.host in self.down:
            raise NotSentError(REFUSED)
        return ["true"] if self.host in self.broken else ["sh"]


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A home with commands of Slurm that know no job and take each."""
    for command in ("sbatch", "squeue", "scancel"):
        path = tmp_path / "bin" / command
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\necho {command} >> {tmp_path}/called\necho 4711\n")
        path.chmod(0o755)
    (tmp_path / "bin" / "squeue").write_text("#!/bin/sh\n")
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:/usr/bin:/bin")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Logins, "connection", lambda self, host: FarConnection(host))
    monkeypatch.setattr(FarConnection, "down", set())
    monkeypatch.setattr(FarConnection, "broken", set())
    monkeypatch.setattr(assembly, "check_token", lambda *about: None)
    return tmp_path


def far(home, name):
    """A site behind `ssh NAME`, with paths below the home there."""
    a_site(home).token.rename(home / f"token-{name}")
    return replace(
        a_site(home), resource=name, offer_prefix=f"{name}:", token=Path(f"~/token-{name}"),
        slurm=SlurmOptions(ssh=name),
    )  # fmt: skip


@pytest.fixture
def begin(home, monkeypatch):
    """Check the prerequisites of a run at these sites."""
    with ExitStack() as undo:

        def begin(*names):
            sites = tuple(far(home, name) for name in names)
            monkeypatch.setattr(assembly, "load_all", lambda files: sites)
            options = RunOptions("MyProject", (), Limits(4, 4, None, None, 0.5))
            return preflight(options, home / ".snakemake", undo)

        yield begin


@pytest.mark.parametrize("how", ["down", "broken"])
def test_a_run_begins_with_the_sites_that_answer(begin, how):
    getattr(FarConnection, how).add("b")
    prepared = begin("a", "b")
    assert list(prepared.silent) == ["b"]
    assert [each.site.resource for each in prepared.clusters] == ["a"]
    place = prepared.place(RunFolder(Path(f"/w/{RUN}")))
    assert [bool(each.folder) for each in place.sites] == [True, False]


def test_a_run_does_not_begin_if_no_site_answers(begin):
    FarConnection.down.update("ab")
    with pytest.raises(MissingPrerequisiteError, match=f"^no site answers: a: {REFUSED}; b: "):
        begin("a", "b")
    with pytest.raises(MissingPrerequisiteError, match=f"^{REFUSED}$"):
        begin("a")


def test_a_site_that_answers_and_lacks_something_stops_the_start(begin, home, monkeypatch):
    FarConnection.down.add("b")
    monkeypatch.setenv("HOME", "/nowhere")
    with pytest.raises(InputError, match=r"^site a: token file .* leave its file out of"):
        begin("a", "b")


def test_the_folder_and_the_token_of_a_site_that_answers_later_are_noted_then(
    begin, home, monkeypatch
):
    checked = []
    monkeypatch.setattr(assembly, "check_token", lambda text, where, *_: checked.append(where))
    FarConnection.down.add("b")
    prepared, clock = begin("a", "b"), HandClock()
    taken = take(home / ".snakemake", prepared.seat)
    taken.settle_at(prepared.place(taken.folder))
    fleet = assembly._fleet(taken, prepared, clock)
    FarConnection.down.clear()
    clock.at_s += 60
    fleet.write({"lease": "1\n"})
    first, second = taken.journal.place.sites
    assert first.folder == second.folder == str(home / ".local/state/osgpilot" / taken.seat.run)
    assert checked == [f"{home}/token-a", f"{home}/token-b"]
    taken.journal.close()


class World:
    """Two sites of a run; `b` does not answer when it begins."""

    def __init__(self, home):
        self.clock, self.checked, numbers = HandClock(), [], PilotNumbers()
        self.run = RunFolder.create(home, RUN)
        self.accesses = {name: SiteAccess(far(home, name), Logins()) for name in "ab"}
        managers = {}
        for name, access in self.accesses.items():
            there = RunAtSite(access, replace(SEAT, run=RUN), self.run, self.check)
            managers[name] = PilotManager(there, self.clock, there.requests(), numbers=numbers)
        self.fleet = Fleet(managers, self.clock, lambda: 1.0)
        self.fleet.leave_alone("b", NotSentError(REFUSED))

    def check(self, found):
        self.checked.append(found.site.resource)

    def launch(self):
        self.fleet.apply(Plan((Launch("b:default/4c", 3600, "because"),)))

    def look(self, after_s=31.0):
        self.clock.at_s += after_s
        self.fleet.look(PilotObservations())


@pytest.fixture
def world(home):
    FarConnection.down.add("b")
    return World(home)


def files_there(home):
    return sorted(path.name for path in home.glob(f".local/state/osgpilot/{RUN}/*"))


def test_a_site_that_answers_later_is_used_as_those_that_did_at_once(logged, world, home):
    assert [text for text in logged.warnings if REFUSED in text and "polled again" in text]
    assert world.fleet.gates()["b:default/4c"].launches_max == 0
    assert world.fleet.silent(1e6) == {"b"}, "it never answered"
    world.fleet.write({"lease": "1\n"})
    assert world.checked == ["a"]
    FarConnection.down.clear()
    world.clock.at_s += 31
    world.fleet.write({"lease": "2\n"})
    world.launch()
    assert world.checked == ["a", "b"]
    assert {"lease", "pilot.sh"} <= set(files_there(home))
    (pilot,) = world.fleet.live
    assert (pilot.site, pilot.allocation_id) == ("b", "4711")
    assert "b:default/4c" not in world.fleet.gates()
    assert any("site b answers again" in text for text in logged.info)


def test_pilots_of_an_earlier_session_are_asked_about_when_their_site_answers(world):
    name = f"osgpilot-{RUN}-7"
    left = Pilot(
        name, Shape(4, 4000), state=PilotState.READY, allocation_id="12", offer="b:default/4c",
        site="b",
    )  # fmt: skip
    world.fleet.restore([left])
    for _ in range(5):
        world.look()
    (pilot,) = world.fleet.live
    assert pilot.state is PilotState.READY, "no answer proves nothing"
    with pytest.raises(OutcomeUnknownError, match=f"b: Slurm may still have pilots 12: {REFUSED}"):
        world.fleet.end()
    FarConnection.down.clear()
    for _ in range(3):
        world.look(after_s=1000)
    assert not world.fleet.live
    assert world.fleet.pilots[0].state is PilotState.DONE


def test_a_site_that_answers_later_and_lacks_something_says_so_until_it_has_it(world, home, logged):
    FarConnection.down.clear()
    (home / "token-b").rename(home / "elsewhere")
    for _ in range(3):
        world.look()
        world.fleet.write({"lease": "1\n"})
    assert len([text for text in logged.warnings if "token-b on b: No such file" in text]) == 1
    (home / "elsewhere").rename(home / "token-b")
    world.clock.at_s += 1000
    world.launch()
    assert [pilot.site for pilot in world.fleet.live] == ["b"]


def test_what_an_interrupt_ends_is_no_connection(world):
    world.fleet.interrupt()
    assert world.accesses["b"].cluster is None
