"""Findings and their output; the checks themselves are tested on the pool."""

from dataclasses import replace

import pytest
from click.testing import CliRunner
from doubles import site as a_site

from snakemake_executor_plugin_osgpilot.cli import main
from snakemake_executor_plugin_osgpilot.doctor import mail
from snakemake_executor_plugin_osgpilot.doctor import node_report as node
from snakemake_executor_plugin_osgpilot.doctor.checks import (
    CHECKS,
    NAMES,
    Check,
    examine_all,
    examine_sites,
    selected,
)
from snakemake_executor_plugin_osgpilot.doctor.context import CheckContext, Once, Skipped
from snakemake_executor_plugin_osgpilot.doctor.findings import (
    Finding,
    Verdict,
    as_data,
    exit_status,
    failed,
    of_error,
    ok,
    summary,
    untested,
    warning,
)
from snakemake_executor_plugin_osgpilot.doctor.local_checks import known_project, numbers
from snakemake_executor_plugin_osgpilot.errors import InputError, OutcomeUnknownError
from snakemake_executor_plugin_osgpilot.htcondor.schedd_queue import host_and_port

HEALTHY = {
    "clock": "1000", "node": "n1", "runtime": "apptainer version 1.4.5", "scratch": "ok",
    "scratch_kind": "xfs", "user_namespaces": "ok", "fuse": "ok", "cvmfs": "missing",
    "scratch_gb": "73", "pool": "ok", "token": "ok", "image": "ok", "nested": "ok",
    "reaches": "10.0.0.1:9618", "probe": "done",
}  # fmt: skip


def said(asked_s=999.0, read_s=1001.0, **changes):
    outcome = {name: value for name, value in (HEALTHY | changes).items() if value is not None}
    log = "".join(f"osgpilot: check {name}={value}\n" for name, value in outcome.items())
    return node.Said("Loading modules\n" + log, "cpu", asked_s, read_s)


@pytest.fixture
def site(tmp_path):
    return replace(a_site(tmp_path), image="/p.sif", scratch="/scratch")


@pytest.fixture
def trouble(site):
    """Return the lines of a node on which something differs from a healthy one."""

    def find(wanted_gpus=0, **changes):
        found = node.findings(said(**changes), site, wanted_gpus)
        return [each for each in found if each.verdict is not Verdict.OK]

    return find


def test_a_healthy_node_is_all_ok(trouble):
    assert trouble() == []


@pytest.mark.parametrize(
    ("changes", "name", "what", "fix"),
    [
        ({"runtime": "missing"}, "node-apptainer", "neither", "`module load apptainer`"),
        ({"user_namespaces": "missing"}, "node-namespaces", "off on n1", "max_user_namespaces"),
        ({"fuse": "missing"}, "node-fuse", "no /dev/fuse", "/dev/fuse"),
        ({"scratch": "absent"}, "node-scratch", "/scratch does not exist on n1", "`scratch`"),
        ({"scratch": "unwritable"}, "node-scratch", "cannot be written", "`scratch`"),
        ({"token": "unreadable"}, "node-token", "cannot be read on n1", "`token`"),
        ({"image": "unreadable"}, "node-image", "cannot be read on n1", "`image`"),
        ({"image": "fails: FATAL"}, "node-image", "/p.sif on n1 (cpu) fails: FATAL", "fetch it"),
        ({"unfetched": "https://h/v2/x"}, "node-fetches", "every job fails there", "to h, TCP 443"),
        ({"nested": "missing"}, "node-image", "no container in it can", "user namespaces"),
        ({"pool": "unreachable"}, "node-pool", "n1 (cpu) cannot reach", "connect out"),
        ({"misses": "ap:9618"}, "node-ports", "cannot reach ap:9618", "TCP ap:9618"),
    ],
)
def test_what_a_pilot_would_lack_is_a_failure_with_a_fix(trouble, changes, name, what, fix):
    (finding,) = trouble(**changes)
    assert (finding.name, finding.verdict) == (name, Verdict.FAILED)
    assert what in finding.what
    assert fix in finding.fix


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"scratch_gb": "3"}, "node-scratch"),
        ({"unfetched": "https://h/v2/x", "cvmfs_images": "ok"}, "node-fetches"),
        ({"scratch_kind": "tmpfs"}, "node-scratch"),
        ({"scratch_kind": "nfs4"}, "node-scratch"),
        ({"clock": "1100"}, "node-clock"),
        ({"clock": "900"}, "node-clock"),
        ({"gpus": "0"}, "node-gpus"),
    ],
)
def test_what_is_not_good_but_works_is_a_warning(trouble, changes, name):
    (finding,) = trouble(wanted_gpus=int("gpus" in changes), **changes)
    assert (finding.name, finding.verdict) == (name, Verdict.WARNING)


def test_what_was_not_started_was_not_tested(trouble):
    names = {each.name: each.verdict for each in trouble(runtime="missing", image=None)}
    assert names["node-image"] is Verdict.UNTESTED
    (slow,) = trouble(image="slow")
    assert (slow.name, slow.verdict) == ("node-image", Verdict.UNTESTED)
    assert "was not fetched within" in slow.what


def test_a_broken_probe_shows_its_last_line(site):
    log = "osgpilot: check node=n1\nbash: module: not found\n"
    (finding,) = node.findings(node.Said(log, "cpu", 999, 1001), site, 0)
    assert finding.verdict is Verdict.FAILED
    assert "broke off" in finding.what
    assert "module: not found" in finding.what


@pytest.mark.parametrize(("clock", "skew_s"), [("999", 0), ("1001", 0), ("1061", 60), ("938", -60)])
def test_clock_skew_excludes_the_time_between_submission_and_reading(clock, skew_s):
    assert node.skew_s(said(clock=clock)) == skew_s
    assert node.skew_s(said(clock="soon")) is None


def test_only_failures_count_for_the_exit_status():
    fine = [ok("a", "x"), warning("b", "x", "y"), untested("c", "x")]
    assert exit_status(fine) == 0
    assert exit_status([*fine, failed("d", "x", "y")]) == 1
    assert summary([*fine, ok("e", "x")]) == "2 ok, 1 warning, 1 not tested"
    assert as_data(fine)["counts"] == {"ok": 1, "warning": 1, "failed": 0, "not tested": 1}


def test_our_errors_become_findings_with_their_own_fix():
    outcome = of_error("a", InputError("x is bad; do y; or z"), "never")
    assert (outcome.verdict, outcome.what, outcome.fix) == (
        Verdict.FAILED,
        "x is bad",
        "do y; or z",
    )
    assert of_error("a", InputError("x is bad"), "do y").fix == "do y"
    assert of_error("a", OutcomeUnknownError("no answer")).verdict is Verdict.UNTESTED


def context(tmp_path):
    return CheckContext(tmp_path / "none.yaml", state_folder=tmp_path / ".snakemake")


def test_findings_keep_the_order_of_the_table(tmp_path):
    here = context(tmp_path)

    def slow(_):
        assert here.stop.wait(0.2) is False
        return [ok("slow", "")]

    checks = (Check("slow", "", slow), Check("fast", "", lambda _: [ok("fast", "")]))
    outcome = []
    found = examine_all(checks, here, lambda names: outcome.append(list(names)))
    assert [each.name for each in found] == ["slow", "fast"]
    assert outcome == [["slow", "fast"], ["slow"]]


def test_a_check_that_breaks_hides_no_other(tmp_path):
    def broken(_):
        raise KeyError("oops")

    checks = (Check("broken", "", broken), Check("fine", "", lambda _: [ok("fine", "")]))
    found = list(examine_all(checks, context(tmp_path), lambda names: None))
    assert [each.verdict for each in found] == [Verdict.UNTESTED, Verdict.OK]
    assert "KeyError" in found[0].what


def test_without_a_site_file_dependent_checks_are_skipped(tmp_path):
    here = context(tmp_path)
    found = list(examine_all(selected((), probe=True), here, lambda names: None))
    here.close()
    by_name = {each.name: each for each in found}
    assert [name for name, each in by_name.items() if each.verdict is Verdict.FAILED] == [
        "site-file"
    ]
    site_file = by_name["site-file"]
    assert f"{site_file.what}; {site_file.fix}".count("osgpilot site init") == 1
    for name in ("token", "image", "limits", "slurm", "access-point", "pool", "node"):
        assert by_name[name].verdict is Verdict.UNTESTED
        assert "site-file" in by_name[name].what
    assert not (tmp_path / ".snakemake").exists()


def test_a_question_is_asked_once_and_its_owner_reports_the_error():
    asked = []

    def ask():
        asked.append(1)
        raise InputError("no")

    once = Once("owner", ask)
    with pytest.raises(InputError):
        once.reported()
    with pytest.raises(Skipped, match="owner"):
        once()
    assert asked == [1]


def test_checks_are_selected_by_name():
    assert [check.name for check in selected((), probe=False)] == list(NAMES[:-1])
    assert [check.name for check in selected(("token", "pool"), probe=True)] == ["token", "pool"]
    assert [check.name for check in selected(("node-fuse",), probe=True)] == ["node"]
    with pytest.raises(InputError, match="no such check; known: versions, site-file"):
        selected(("tokens",), probe=True)


def test_a_project_is_known_as_it_is_written_there():
    known = {"Chicago_Curie": {}, "Other": {}}
    assert known_project("Chicago_Curie", known).verdict is Verdict.OK
    alike = known_project("chicago_curie", known)
    assert (alike.verdict, alike.fix) == (Verdict.FAILED, "write it Chicago_Curie")
    assert "--mail" in known_project("Nobody", known).fix


def test_versions_are_compared_by_their_numbers():
    assert numbers("9.27.1") == (9, 27, 1)
    assert numbers("25.14.1rc1") == (25, 14)


@pytest.mark.parametrize(
    ("address", "place"),
    [
        ("<10.99.0.2:9618?addrs=10.99.0.2-9618&alias=ap>", "10.99.0.2:9618"),
        ("<[2001:db8::1]:9618?x>", "[2001:db8::1]:9618"),
        ("", ""),
    ],
)
def test_the_place_of_a_daemon_is_read_from_its_address(address, place):
    assert host_and_port(address) == place


ASKER = mail.Asker("alice", "Home", "Home-Slurm", "Home_Curie", "peak", "9 nodes")


def test_the_mail_asks_for_what_is_missing():
    found = [failed("token", "x", "y"), ok("project", "z"), failed("image", "x", "y")]
    assert mail.missing(found) == {"token"}
    text = mail.text(ASKER, mail.missing(found))
    assert text.startswith("To: support@osg-htc.org\nSubject: OSPool pilots on peak: token\n")
    assert "READ ADVERTISE_STARTD ADVERTISE_MASTER" in text
    assert "A project. Name" not in text
    assert "tell me\nif anything about this is not welcome" in text


def test_the_mail_numbers_what_it_asks_for():
    text = mail.text(ASKER, frozenset(("token", "project")))
    assert "1. A token for pilots of the resource Home-Slurm" in text
    assert "2. A project. Name: Home_Curie." in text


def test_where_nothing_is_missing_the_mail_only_informs():
    text = mail.text(ASKER, frozenset())
    assert "for your information" in text
    assert "Could you" not in text


def test_unknown_values_are_left_to_be_filled_in():
    assert "(GLIDEIN_Site" in mail.text(mail.Asker("alice"), frozenset({"token"}))


def test_the_command_lists_its_checks():
    outcome = CliRunner().invoke(main, ["doctor", "--list"]).output
    assert [line.split()[0] for line in outcome.splitlines()] == [check.name for check in CHECKS]


def test_a_finding_is_one_line():
    assert str(Finding("a", Verdict.FAILED, "is bad", "do y")) == "a: is bad; do y"


def test_failures_are_repeated_at_the_end(monkeypatch, capsys):
    from snakemake_executor_plugin_osgpilot.cli import doctor
    from snakemake_executor_plugin_osgpilot.doctor import checks

    found = [
        failed("a", "it is broken", "repair it"),
        ok("b", "fine"),
        warning("c", "old", "update"),
    ]
    monkeypatch.setattr(checks, "examine_sites", lambda *_: iter(found))
    assert doctor._as_lines((), None) == found
    *_, counts, last = capsys.readouterr().out.splitlines()
    assert counts == "1 ok, 1 warning, 1 failed"
    assert last == "failed     a: it is broken; repair it"


def test_each_site_of_several_is_checked_and_named(tmp_path):
    text = "token: /t\nimage: docker://p\npilot: {cores: 4, memory_mb: 4000, walltime_min: 60}\n"
    files = [tmp_path / "a.yaml", tmp_path / "b.yaml"]
    for file in files:
        file.write_text(f"site: Home\nresource: Same\n{text}")
    contexts = [replace(context(tmp_path), site_file=file) for file in files]
    wanted = selected(("site-file", "run-folder"), probe=False)

    def lines():
        return [str(each) for each in examine_sites(wanted, contexts, lambda names: None)]

    together, *rest = lines()
    assert "both have `resource: Same`" in together
    assert [line.split(":")[0] for line in rest] == ["site-file", "run-folder", "site-file"]
    assert f"{files[0]}: " in rest[0]
    assert f"{files[1]}: " in rest[2]
    files[1].write_text(f"site: Home\nresource: Other\n{text}")
    contexts = [replace(context(tmp_path), site_file=file) for file in files]
    assert lines()[0] == "site-file: 2 sites: Same, Other"
