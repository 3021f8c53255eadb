"""Differences between sites: requests that they want, and refusals in their own words."""

from pathlib import Path

import pytest

from snakemake_executor_plugin_osgpilot.config import slurm_facts
from snakemake_executor_plugin_osgpilot.config.sbatch_options import option_problem
from snakemake_executor_plugin_osgpilot.config.site import SlurmOptions
from snakemake_executor_plugin_osgpilot.errors import (
    OutcomeUnknownError,
    RejectedError,
    TryLaterError,
)
from snakemake_executor_plugin_osgpilot.pilots.batch_system import Allocation
from snakemake_executor_plugin_osgpilot.slurm import commands, parse
from snakemake_executor_plugin_osgpilot.slurm.error_messages import failure
from snakemake_executor_plugin_osgpilot.slurm.host import Here, Host
from snakemake_executor_plugin_osgpilot.slurm.remote_script import Answer, message

ASKED = Allocation("osgpilot-r1-1", "r1", 6, 4000, 60, Path("/w/pilots/x"))
WITH_GPUS = Allocation("n", "r1", 6, 4000, 60, Path("/w/x"), gpus=2, gpu_type="a100")


def request(options, allocation=ASKED):
    return commands.sbatch(allocation, options, Path("/w/pilot.sh"))[:-2]


WANTED = {
    "memory of the node": (SlurmOptions(), {"--mem=4000"}, {"--mem-per-cpu"}),
    "memory of each core": (SlurmOptions(memory="cpu"), {"--mem-per-cpu=667"}, {"--mem="}),
    "no request for memory": (SlurmOptions(memory="none"), set(), {"--mem"}),
    "a licence, a key and mail": (
        SlurmOptions(options=("--licenses=scratch", "--wckey=x", "--mail-type=END")),
        {"--licenses=scratch", "--wckey=x", "--mail-type=END"},
        set(),
    ),
    "a node of its own": (SlurmOptions(options=("--exclusive",)), {"--exclusive"}, set()),
    "a comment that the site reads": (
        SlurmOptions(options=("--comment=storage",)), {"--comment=storage"}, {"--comment=osgpilot"},
    ),
    "a local disk": (
        SlurmOptions(options=("--gres=lscratch:100",)), {"--gres=lscratch:100"}, {"--gres=gpu"}
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", WANTED)
def test_requests_are_as_the_site_wants_them(name):
    options, there, absent = WANTED[name]
    argv = request(options)
    assert there <= set(argv)
    assert not [each for each in argv for start in absent if each.startswith(start)]


def test_gpus_and_a_local_disk_are_one_request():
    argv = request(SlurmOptions(options=("--gres=lscratch:100",)), WITH_GPUS)
    assert [each for each in argv if each.startswith("--gres")] == [
        "--gres=gpu:a100:2,lscratch:100"
    ]


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("--mem=100", "--mem follows from memory_mb of pilots, and slurm.memory"),
        ("--me=100", "--mem follows from memory_mb"),
        ("--part=x", "--partition follows from partitions"),
        ("--clusters=x", "--clusters follows from slurm.cluster"),
        ("--job-name=x", "osgpilot itself decides on --job-name"),
        ("--parsable", "osgpilot itself decides on --parsable"),
        ("--wait", "osgpilot itself decides on --wait"),
        ("--array=1-9", "osgpilot itself decides on --array"),
        ("--gres=gpu:1", "GPUs follow from `gpus` of pilots"),
        ("--gres=lscratch:1,gpu", "GPUs follow from `gpus` of pilots"),
        ("-L x", "write it as --name or --name=value, without blanks"),
        ("--licenses x", "write it as --name or --name=value, without blanks"),
        ("--comment=a b", "write it as --name or --name=value, without blanks"),
        ("x", "write it as --name or --name=value, without blanks"),
    ],
)
def test_an_option_that_osgpilot_sets_is_refused_by_name(option, said):
    assert option_problem(option).startswith(said)


@pytest.mark.parametrize(
    "option",
    ["--exclusive", "--licenses=a@b:1,c", "--gres=lscratch:100", "--comment=x", "--wckey=a.b",
     "--mail-type=END", "--mail-user=me@x.org", "--hint=nomultithread", "--nice=100",
     "--gres-flags=enforce-binding", "--tmp=100G", "--core-spec=0", "--switches=1"],
)  # fmt: skip
def test_options_that_sites_need_are_taken(option):
    assert option_problem(option) == ""


GREETING = """
-----------------------------------------------------------------
            Greetings from the Big Machine
-----------------------------------------------------------------

--> Checking your login host (login3)...OK
--> Checking your home folder (/home/me)...OK
"""
REFUSALS = {
    "Slurm's own words": (
        "sbatch: error: Batch job submission failed: Invalid qos specification\n", "",
        RejectedError, "Invalid qos specification",
    ),
    "an explanation on standard output": (
        "", GREETING + "--> Checking your project...FAILED\n ERROR: you must specify a project "
        "with -A\n",
        RejectedError,
        "sbatch: --> Checking your project...FAILED ERROR: you must specify a project with -A",
    ),
    "an explanation beside an unspecified error": (
        "sbatch: error: Batch job submission failed: Unspecified error\n",
        "Please specify a walltime below 48 hours for this queue, it is required.\n",
        RejectedError, "Please specify a walltime",
    ),
    "a limit that passes": (
        "", GREETING + "ERROR: you have too many jobs in the queue, you must use fewer\n",
        TryLaterError, "too many jobs",
    ),
    "a limit in the words of a plugin": (
        "sbatch: error: Please use no more than 50 jobs, you must specify less\n", "",
        TryLaterError, "50 jobs",
    ),
    "a greeting alone": ("", GREETING, TryLaterError, "Greetings from the Big Machine"),
    "nothing at all": ("", "", TryLaterError, "exit status 1"),
    "frames alone": ("", "-----\n=====\n", TryLaterError, "exit status 1"),
    "no memory where sites share nodes by cores": (
        "sbatch: error: --mem is not supported on this system; do not request memory\n", "",
        RejectedError, "--mem is not supported",
    ),
    "a controller that is away": (
        "sbatch: error: Unable to contact slurm controller (connect failure)\n", "please use -A\n",
        OutcomeUnknownError, "Unable to contact",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSALS)
def test_a_refusal_is_shown_and_classified_wherever_it_is(name):
    err, out, kind, part = REFUSALS[name]
    error = failure("sbatch", message(Answer(1, out, err, 0)))
    assert type(error) is kind
    assert part in str(error)
    assert "\n" not in str(error)
    assert "OK" not in str(error) or kind is TryLaterError


def test_a_long_explanation_is_cut():
    assert len(message(Answer(1, "error " * 5000, "", 0))) == 1000


def test_all_commands_work_on_the_cluster_that_is_named(monkeypatch):
    monkeypatch.setenv("SLURM_CLUSTERS", "of-the-user")
    shown = ["sh", "-c", "echo $SLURM_CLUSTERS"]
    assert Host(Here(), "a b").run(shown).out == "a b\n"
    assert Host(Here()).run(shown).out == "\n"


NAMED = "CLUSTER: far\n"


def test_what_is_shown_of_a_cluster_that_is_named_is_read():
    row = "m+7m,osgpilot-r1-1m,RUNNINGm,Nonem,N/Am,N/Am,n1m,4m,/w/r1/pilots/xm.\n"
    assert parse.rows(NAMED + row, "m")["osgpilot-r1-1"].allocation_id == "7"
    assert parse.rows(NAMED, "m") == {}
    assert parse.allocation_id("7;far\n") == "7"
    lines = f"{NAMED}PartitionName=p Default=YES State=UP\n\n"
    assert [each.name for each in slurm_facts.partitions(lines)] == ["p"]
    assert slurm_facts.nodes(f"{NAMED}NodeName=n1 CPUTot=4 RealMemory=5000")[0].cores == 4
