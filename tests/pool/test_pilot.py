"""A pilot started by hand: the contract of the OSG pilot container, and jobs that run in it."""

import textwrap

import pytest

from .conftest import Pool, until

PILOT = """\
    #!/bin/bash
    #SBATCH --cpus-per-task=4 --mem=3900 --time=1:00:00
    scratch=$(mktemp -d /var/tmp/osg-pilot.$SLURM_JOB_ID.XXXXXX)
    mkdir $scratch/pilot
    export APPTAINERENV_POOL=ap.localpool:9618 APPTAINERENV_GLIDEIN_RANDOMIZE_NAME=true
    export APPTAINERENV_GLIDEIN_Site=Local APPTAINERENV_GLIDEIN_ResourceName=Local-Slurm
    export APPTAINERENV_OSG_PROJECT_NAME=TestProject
    export APPTAINERENV_NUM_CPUS=4 APPTAINERENV_MEMORY=3800
    exec apptainer run --contain --cleanenv --bind /dev/fuse --bind $scratch/pilot:/pilot \\
      --bind $HOME/osg-token:/etc/condor/tokens-orig.d:ro /opt/sif/pilot.sif
    """
JOB = """\
    executable = /bin/sh
    transfer_executable = false
    arguments = "-c 'cat /etc/job-image; echo on $GLIDEIN_Site > result'"
    {more}
    request_cpus = 1
    request_memory = 200MB
    request_disk = 300MB
    output = {tag}.out
    error = {tag}.err
    log = {tag}.log
    should_transfer_files = yes
    transfer_output_files = result
    transfer_output_remaps = "result={tag}.result"
    queue
    """


@pytest.fixture(scope="module")
def pilot(pool: Pool):
    """A Slurm job of alice's that is a pilot of the project TestProject."""
    done = pool.run("sbatch", "--parsable", folder="/home/alice", stdin=textwrap.dedent(PILOT))
    job = done.stdout.strip()
    until(lambda: pool.say("condor_status", "-af", "Name"), 60, "the slot's ad")
    yield job
    pool.say("scancel", "--batch", "--signal=TERM", job)


def submit(pool: Pool, tag: str, more: str, host: str = "login") -> str:
    text = textwrap.dedent(JOB).format(tag=tag, more=more)
    done = pool.run("condor_submit", "-terse", folder="/home/alice", host=host, stdin=text)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()[0]


def ended(pool: Pool, tag: str, host: str = "login") -> bool:
    return "\n005 (" in pool.run("cat", f"/home/alice/{tag}.log", host=host).stdout


@pytest.mark.parametrize("host", ["login", "ap"])
def test_a_job_of_the_project_runs_in_the_pilot(pool: Pool, pilot: str, host: str):
    submit(pool, "own", '+ProjectName = "TestProject"', host)
    until(lambda: ended(pool, "own", host), 60, "end of the job")
    assert pool.say("cat", "own.result", host=host) == "on Local"


@pytest.mark.parametrize("more", ['+ProjectName = "Other"', '+ProjectName = "testproject"', ""])
def test_a_job_of_no_or_another_project_does_not_match(pool: Pool, pilot: str, more: str):
    job = submit(pool, "other", more)
    slot = pool.say("condor_status", "-af", "Name", "-constraint", "PartitionableSlot")
    analysis = pool.say("condor_q", "-better-analyze:summary", "-machine", slot, job, "-reverse")
    pool.say("condor_rm", job)
    submit(pool, "after", '+ProjectName = "TestProject"')
    until(lambda: ended(pool, "after"), 60, "end of a job submitted later")
    assert not ended(pool, "other"), analysis


def test_a_container_job_runs_in_its_image_inside_the_pilot(pool: Pool, pilot: str):
    container = "universe = container\ncontainer_image = /opt/sif/job.sif"
    submit(pool, "container", f'{container}\n+ProjectName = "TestProject"')
    until(lambda: ended(pool, "container"), 90, "end of the container job")
    assert pool.say("cat", "container.out") == "localpool-job"


@pytest.mark.parametrize(
    ("variables", "token", "words"),
    [
        ({}, False, "flock.opensciencegrid.org"),
        ({"GLIDEIN_Site": ""}, True, "GLIDEIN_Site"),
        ({"GLIDEIN_ResourceName": ""}, True, "GLIDEIN_ResourceName"),
        ({"ACCEPT_JOBS_FOR_HOURS": "0"}, True, "positive integer"),
        ({"RETIREMENT_HOURS": "1.5"}, True, "positive integer"),
        ({"POOL": "nowhere"}, True, "Unknown pool"),
    ],
)
def test_the_pilot_refuses_what_the_real_one_refuses(
    pool: Pool, variables: dict[str, str], token: bool, words: str
):
    given = {"GLIDEIN_Site": "S", "GLIDEIN_ResourceName": "R", "POOL": "ap.localpool:9618"}
    flags = [f"--env={key}={value}" for key, value in (given | variables).items()]
    if token:
        flags.append("--bind=/home/alice/osg-token:/etc/condor/tokens-orig.d:ro")
    done = pool.run("apptainer", "-q", "run", "-C", *flags, "/opt/sif/pilot.sif")
    assert done.returncode == 1
    assert words in done.stderr


def test_the_job_image_has_what_the_example_needs(pool: Pool):
    script = "bowtie2 --version && samtools --version && bcftools --version && awk 1 /dev/null"
    plot = "import matplotlib; matplotlib.use('Agg'); import matplotlib.pyplot"
    inside = ["apptainer", "-q", "exec", "-C", "/opt/sif/job.sif"]
    pool.say(*inside, "sh", "-ec", script)
    pool.say(*inside, "python3", "-c", plot)
    data = pool.say("ls", "/opt/data/bowtie2-examples")
    assert {"lambda_virus.fa", "reads_1.fq.gz", "reads_2.fq.gz"} <= set(data.split())
