"""Whatever a site file, an answer of Slurm's, an event log or a name holds, it stays what it is."""

import copy
import os
import re
import subprocess
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from snakemake_executor_plugin_osgpilot.config.site import Partition, Site, load
from snakemake_executor_plugin_osgpilot.errors import InputError, OsgpilotError, OutcomeUnknownError
from snakemake_executor_plugin_osgpilot.htcondor.event_log import EventLog
from snakemake_executor_plugin_osgpilot.htcondor.submit_description import plain_path
from snakemake_executor_plugin_osgpilot.model.identity import RunIdentity
from snakemake_executor_plugin_osgpilot.model.resources import Pilot, Shape
from snakemake_executor_plugin_osgpilot.pilots import parameters
from snakemake_executor_plugin_osgpilot.pilots.batch_system import Allocation
from snakemake_executor_plugin_osgpilot.run.leftovers import is_folder_of
from snakemake_executor_plugin_osgpilot.slurm import commands, parse
from snakemake_executor_plugin_osgpilot.slurm.error_messages import failure
from snakemake_executor_plugin_osgpilot.slurm.ssh import Login

TRAPS = st.sampled_from(
    (
        *"\n\r\0\t '\"\\$`;|&<>(){}[]*?!#~=%,:@-./",
        *("-oProxyCommand=id", "--wrap=id", "$(id)", "../", "\noption token=/etc/shadow"),
        *("\nenv POOL=evil", "%j", "\x1f", "\u2028", "host", "x"),
    )
)
hostile = st.lists(TRAPS | st.text(max_size=3), max_size=5).map("".join)

SEAT = RunIdentity("alice", "MyProject", "r1")
PILOT = Pilot("p1", Shape(4, 3800), offer="default/4c", walltime_s=5400)
FULL = {
    "site": "Home",
    "resource": "Home-Slurm",
    "central_manager": "cm.home:9618",
    "project": "MyProject",
    "access_point": {"schedd": "ap.home", "collector": "cm.home"},
    "token": "~/token",
    "image": "/images/pilot.sif",
    "scratch": "/scratch",
    "slurm": {
        "ssh": "me@cluster",
        "folder": "~/state",
        "account": "a",
        "qos": "q",
        "constraint": "c",
        "reservation": "r",
    },
    "partitions": [
        {"name": "p", "cores": 4, "memory_mb": 4000, "walltime_max_min": 60, "gpu_type": "t"}
    ],
    "condor": {"KNOB": "value"},
}
PLACES = [
    *(("site",), ("resource",), ("central_manager",), ("project",), ("token",), ("image",)),
    *(("scratch",), ("access_point", "schedd"), ("access_point", "collector")),
    *(("slurm", key) for key in FULL["slurm"]),
    *(("partitions", 0, key) for key in ("name", "gpu_type")),
    ("condor", "KNOB"),
]
SINGLE = re.compile(r"[^\0-\x1f\x7f]*")


def is_one_line(error: OsgpilotError) -> None:
    assert SINGLE.fullmatch(str(error))


def site_with(place: tuple[str | int, ...], value: str) -> Site:
    content = copy.deepcopy(FULL)
    inner = content
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "site.yaml"
        path.write_text(yaml.safe_dump(content))
        return load(path)


@given(st.sampled_from(PLACES), hostile)
@example(("slurm", "ssh"), "cluster\n")
@example(("slurm", "ssh"), "-oProxyCommand=id")
@example(("site",), "Home\n")
@example(("image",), "/x\noption token=/etc/shadow")
@example(("condor", "KNOB"), "a\n")
def test_values_of_a_site_file_are_single_words_or_rejected(place, value):
    try:
        site = site_with(place, value)
    except InputError as error:
        is_one_line(error)
        return
    values = parameters.parameters(site, SEAT, PILOT, Path("/run"))
    text = parameters.pilot_files(site, values)["parameters"]
    assert dict(line.split("=", 1) for line in text.split("\n")[:-1]) == values
    partition = site.partitions[0]
    allocation = Allocation(
        "p1", "r1", 4, 4000, 60, Path("/run/pilots/p1"), partition.name, 1, partition.gpu_type
    )
    argv = commands.sbatch(allocation, site.slurm, Path("/run/pilot.sh"))
    assert all(each.startswith("--") for each in argv[1:-2])
    assert argv[-2:] == ["/run/pilot.sh", "/run/pilots/p1"]
    assert all(SINGLE.fullmatch(each) for each in argv)
    assert not site.slurm.ssh.startswith("-")
    assert not re.search(r"\s", site.slurm.ssh)


@given(hostile)
def test_a_host_is_never_an_option_of_ssh(host):
    login = Login(host)
    login._folder.rmdir()
    argv = login.ssh(host, "-T")
    assert argv[-2:] == ["--", host]


READ = """
folder=$1
declare -A option=()
variables=()
die() { exit 9; }
eval "$(sed -n '/^read_parameters() {$/,/^}$/p; /^set_variable() /p' "$2")"
read_parameters
for each in "${!option[@]}"; do printf 'option %s=%s\\0' "$each" "${option[$each]}"; done
for each in "${variables[@]}"; do
    name=APPTAINERENV_$each other=SINGULARITYENV_$each
    printf 'env %s=%s\\0' "$each" "${!name}"
    [ "${!name}" = "${!other}" ] || exit 9
done
"""


@settings(max_examples=40, deadline=None)
@given(st.lists(hostile, min_size=5, max_size=5))
@example(["$(id)", "a=b", " x ", "\\", "'"])
def test_a_pilot_reads_its_parameters_unchanged(given_values):
    image, token, scratch, knob, shared = given_values
    partition = Partition("", 4, 3900, (90,), smallest_cores=4)
    site = Site("Home", "Home-Slurm", Path(token), image, (partition,), scratch=scratch)
    site = replace(site, condor={"KNOB": knob}, shared_folders=(shared,))
    values = parameters.parameters(site, SEAT, PILOT, Path("/run"))
    try:
        files = parameters.pilot_files(site, values)
    except InputError:
        assert any(re.search("[\n\r\0]", value) for value in values.values())
        return
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "parameters").write_text(files["parameters"], newline="")
        (Path(folder) / "pilot.sh").write_text(parameters.script())
        argv = ["bash", "-c", READ, "-", folder, f"{folder}/pilot.sh"]
        clean = {"PATH": os.environ["PATH"]}
        done = subprocess.run(argv, capture_output=True, check=True, env=clean)
    lines = done.stdout.decode().split("\0")[:-1]
    assert dict(line.split("=", 1) for line in lines) == values


FIELDS = ("7", "osgpilot-r1-1", "RUNNING", "None", "N/A", "N/A", "n1", "4", "/r1/pilots/x")
ROW = "m+" + "m,".join(FIELDS) + "m.\n"
PARTS = (ROW, ROW.strip(), ROW.replace("7", "x"), "7;cluster", "7")
slurm_said = st.lists(st.sampled_from(PARTS) | hostile, max_size=4)


@given(slurm_said.map("".join))
@example(ROW.replace("7", "--wrap=id"))
def test_slurm_output_has_numeric_ids_or_is_rejected(said):
    for read in (
        lambda: [r.allocation_id for r in parse.rows(said, "m").values() if r.allocation_id],
        lambda: [each for each, _, _ in parse.folders(said, "m")],
        lambda: [parse.allocation_id(said)],
    ):
        try:
            ids = read()
        except OutcomeUnknownError as error:
            is_one_line(error)
        else:
            # they are arguments of scancel, and numbers in a message
            assert all(re.fullmatch(r"[0-9]+", each) for each in ids)
    assert isinstance(failure("sbatch", " ".join(said.split())), OsgpilotError)


names = hostile | st.sampled_from(["a\nb", ROW, "osgpilot-r1-1\n7", "slurm_load_jobs error: no"])


@given(st.lists(names, max_size=4), st.lists(names, max_size=4))
def test_jobs_of_any_name_change_nothing_about_a_pilot(before, after):
    mark = "0f" * 8
    shown = [*before, "osgpilot-r1-1", *after]
    lines = (
        f"{mark}+" + f"{mark},".join((str(n), name, *FIELDS[2:])) + f"{mark}.\n"
        for n, name in enumerate(shown)
    )
    said = "".join(lines)
    assert parse.rows(said, mark)["osgpilot-r1-1"].allocation_id == str(len(before))
    assert parse.folders(said, mark) == [(str(len(before)), "osgpilot-r1-1", Path("/r1/pilots/x"))]


LOG = (Path(__file__).parents[1] / "unit" / "htcondor" / "event_log.txt").read_text()
log_parts = st.lists(
    st.sampled_from([*LOG.splitlines(keepends=True), "...\n", "005 (", "\n"]) | hostile, max_size=8
)


@settings(max_examples=60, deadline=None)
@given(log_parts.map("".join))
@example("999999999999 (99999999999.000.000) 2026-01-01 00:00:00 x\n...\n")
def test_any_event_log_is_read_to_its_end(text):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "jobs.log"
        log = EventLog(path)
        path.write_text(text + "\n...\n" + LOG)
        found, silent = [], 0
        for _ in range(200):
            try:
                new = log.read()
            except OutcomeUnknownError:
                continue
            found += new
            silent = 0 if new else silent + 1
            if silent > 2:
                break
        assert silent > 2
        assert all(re.fullmatch(r"-?\d+\.-?\d+", job_id) for job_id, _ in found)
        log.close()


@given(hostile)
def test_a_folder_name_is_one_word_in_a_description_or_rejected(name):
    try:
        text = plain_path(Path("/home/alice") / name)
    except InputError:
        return
    assert SINGLE.fullmatch(text)
    assert not set(text) & set("$\"'\\;|&<>(){}[]*?!#`")


@given(hostile)
def test_only_folders_of_runs_are_removed_from_a_cluster(path):
    run = "20261122-101010-abc123"
    for each in (path, f"/{path}", f"/home/{path}/{run}"):
        if is_folder_of(run, each):
            assert Path(each).name == run
            assert ".." not in Path(each).parts


@pytest.mark.parametrize("name", ["x\n", "x\0", "x\r", "x y", "x'", 'x"', "x;", "", "-x", "ü"])
def test_names_in_expressions_are_single_words(name):
    with pytest.raises(InputError):
        parameters.safe_name(name, "name")
