"""Site files: values and error messages."""

import json
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from snakemake_executor_plugin_osgpilot.config.pilot_types import kinds
from snakemake_executor_plugin_osgpilot.config.site import RemoteSchedd, load
from snakemake_executor_plugin_osgpilot.config.site_schema import schema
from snakemake_executor_plugin_osgpilot.errors import InputError
from snakemake_executor_plugin_osgpilot.htcondor.factory import chosen_schedd
from snakemake_executor_plugin_osgpilot.model.resources import UNBOUNDED_MB, Shape

GOOD = """\
site: Home
resource: Home-Slurm
token: token
image: pilot.sif
pilot:
  cores: 4
  memory_mb: 3900
  walltime_min: 60
"""

PARTITIONS = """\
partitions:
  - name: normal
    cores: 16
    memory_mb: 64000
    walltime_max_min: 600
  - name: gpu
    cores: 8
    memory_mb: 32000
    walltime_max_min: 60
    gpus: 2
"""
CHOICE = GOOD.partition("pilot:")[0] + PARTITIONS


@pytest.fixture
def site_file(tmp_path):
    def write(text):
        path = tmp_path / "site.yaml"
        path.write_text(text)
        return path

    return write


def test_defaults_and_relative_paths(site_file, tmp_path):
    site = load(site_file(GOOD))
    assert site.central_manager == "ospool"
    assert site.token == tmp_path / "token"
    assert site.image == str(tmp_path / "pilot.sif")
    assert [k.offer.shape for k in kinds(site)] == [Shape(4, 3700, UNBOUNDED_MB)]


def test_a_pilot_offers_the_gpus_of_its_allocation(site_file):
    with_gpus = GOOD + "  gpus: 2\nslurm:\n  gpu_type: a100\n"
    (kind,) = kinds(load(site_file(with_gpus)))
    assert (kind.offer.shape.gpus, kind.partition.gpu_type) == (2, "a100")
    with pytest.raises(InputError, match=r"`slurm.gpu_type` needs `pilot.gpus`"):
        load(site_file(GOOD + "slurm:\n  gpu_type: a100\n"))


BEHIND_SSH = GOOD.replace("token: token", "token: ~/t").replace("pilot.sif", "/images/pilot.sif")


def test_paths_behind_ssh_are_expanded_by_the_cluster(site_file):
    site = load(site_file(BEHIND_SSH + "slurm:\n  ssh: me@login\n"))
    assert (site.slurm.ssh, str(site.token), site.image) == ("me@login", "~/t", "/images/pilot.sif")
    with pytest.raises(InputError, match="`token` is a path on the cluster"):
        load(site_file(GOOD + "slurm:\n  ssh: login\n"))


@pytest.mark.parametrize("host", ["-oProxyCommand=x", "a b", "a;b", "$(id)", "@a", "a@-b", "''"])
def test_a_host_that_ssh_could_misread_is_refused(site_file, host):
    with pytest.raises(InputError, match=r"`slurm\.ssh`"):
        load(site_file(BEHIND_SSH + f"slurm:\n  ssh: {host!r}\n"))


@pytest.mark.parametrize("folder", ["relative", "~you/x", "/a b", "/", "/a//b"])
def test_a_folder_on_the_cluster_is_absolute_or_at_home(site_file, folder):
    with pytest.raises(InputError, match=r"`slurm\.folder`"):
        load(site_file(BEHIND_SSH + f"slurm:\n  ssh: login\n  folder: {folder}\n"))


def test_a_folder_on_the_cluster_needs_its_host(site_file):
    with pytest.raises(InputError, match=r"`slurm\.folder` needs `slurm\.ssh`"):
        load(site_file(GOOD + "slurm:\n  folder: ~/x\n"))


def test_home_folder_and_image_urls(site_file):
    text = GOOD.replace("token: token", "token: ~/t").replace("pilot.sif", "docker://a/b:1")
    site = load(site_file(text))
    assert site.token == Path.home() / "t"
    assert site.image == "docker://a/b:1"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (GOOD.replace("cores: 4", "cores: four"), r"line 6: `pilot.cores` 'four'"),
        (GOOD.replace("cores: 4", "coers: 4"), r"line 6: `pilot.coers` is not known.*cores"),
        (GOOD + PARTITIONS, r"either `pilot.cores`.*or `partitions`"),
        (GOOD.replace("pilot:\n", "pile:\n"), r"line 5: `pile` is not known"),
        (GOOD.replace("  cores: 4\n", ""), r"line 5: `pilot.cores` is missing"),
        (GOOD + "colour: red\n", r"line 9: `colour` is not known"),
        (GOOD.replace("Home-Slurm", "'a\"b'"), r"line 2: `resource`"),
        (GOOD.replace("site: Home", "site: [Home"), r"line [23]: "),
        ("- a\n- b\n", r"line 1: expected"),
        ("", r"line 1: expected"),
        (GOOD + "  memory_headroom_mb: 3850\n", r"leaves 50 MB"),
        (GOOD + "condor:\n  A B: 1\n", r"line 10|A B"),
        (GOOD + "  gpus: -1\n", r"line 9: `pilot.gpus`"),
        (GOOD + "slurm:\n  gpu_type: a100\n", r"`slurm.gpu_type` needs `pilot.gpus`"),
    ],
)
def test_error_has_line_and_key(site_file, text, complaint):
    with pytest.raises(InputError, match=complaint) as raised:
        load(site_file(text))
    assert "\n" not in str(raised.value)
    assert "site.yaml" in str(raised.value)


def test_an_unreadable_file_is_named(tmp_path):
    with pytest.raises(InputError, match="No such file"):
        load(tmp_path / "none.yaml")


def test_the_schema_is_a_schema():
    Draft202012Validator.check_schema(schema())
    assert json.dumps(schema())


@pytest.mark.parametrize(
    ("idle_min", "condor", "enough"),
    [
        (9, "", False),
        (10, "", True),
        (1, "UPDATE_INTERVAL: 5", True),
        (4, "UPDATE_INTERVAL: 121", False),
        (5, "UPDATE_INTERVAL: 121", True),
        (9, "UPDATE_INTERVAL: $(X)", False),
    ],
)
def test_idle_min_leaves_a_pilot_time_for_its_first_job(site_file, idle_min, condor, enough):
    text = GOOD + f"  idle_min: {idle_min}\n" + (f"condor:\n  {condor}\n" if condor else "")
    if enough:
        assert load(site_file(text)).pilot.idle_min == idle_min
        return
    with pytest.raises(
        InputError, match=r"site.yaml: `pilot.idle_min` is \d; with less than \d+ min"
    ):
        load(site_file(text))


def test_no_page_or_example_suggests_short_intervals():
    """At a real site they kill the container's script half way."""
    root = Path(__file__).parents[3]
    pages = [
        root / "README.md",
        *(root / "docs").rglob("*.md"),
        *(root / "example-workflow").rglob("*"),
    ]
    pages = [page for page in pages if page.is_file() and page.suffix in (".md", ".yaml")]
    assert len(pages) > 15
    assert [page.name for page in pages if "STARTD_CRON_base" in page.read_text()] == []


def test_the_example_site_is_valid():
    load(Path(__file__).parents[3] / "example-workflow" / "site.yaml")


def test_partitions_offer_the_largest_pilot_and_halves_of_it(site_file):
    offers = [kind.offer for kind in kinds(load(site_file(CHOICE)))]
    assert [o.name for o in offers] == ["normal/16c", "normal/8c", "normal/4c", "gpu/8c", "gpu/4c"]
    assert offers[1].shape == Shape(8, 32000 - 200, UNBOUNDED_MB)
    assert offers[4].shape == Shape(4, 16000 - 200, UNBOUNDED_MB, 1)
    assert offers[0].walltimes_s == (1800, 3600, 7200, 14400, 28800, 36000)
    assert offers[3].walltimes_s == (1800, 3600)


ELSEWHERE = """\
access_point:
  schedd: ap40.example.org
  poll_s: 5
"""


def test_jobs_can_be_submitted_to_remote_access_point(site_file):
    assert load(site_file(GOOD)).access_point is None
    own = load(site_file(GOOD + "central_manager: cm.example.org\n" + ELSEWHERE))
    assert own.access_point == RemoteSchedd("ap40.example.org", poll_s=5)


def test_poll_interval_of_ospool_access_point_is_bounded(site_file):
    with pytest.raises(InputError, match=r"`access_point.poll_s` is 5; .* every 60 s at most"):
        load(site_file(GOOD + ELSEWHERE))


@pytest.mark.parametrize("bad", ["schedd: a b", "schedd: '$(X)'", "collector: cm.example.org"])
def test_access_point_needs_a_valid_name(site_file, bad):
    with pytest.raises(InputError, match=r"`access_point\.schedd`"):
        load(site_file(f"{GOOD}access_point:\n  {bad}\n"))


def test_setting_overrides_access_point(site_file):
    elsewhere = load(site_file(GOOD + "central_manager: cm.example.org\n" + ELSEWHERE))
    here = load(site_file(GOOD))
    assert chosen_schedd(None, elsewhere) == RemoteSchedd("ap40.example.org", poll_s=5)
    assert chosen_schedd("ap41", elsewhere) == RemoteSchedd("ap41", poll_s=5)
    assert chosen_schedd("ap41", here) == RemoteSchedd("ap41")
    assert chosen_schedd("local", elsewhere) is None
    assert chosen_schedd(None, here) is None
    with pytest.raises(InputError, match="--osgpilot-access-point"):
        chosen_schedd("a b", here)


@pytest.mark.parametrize("scratch", ["/scratch/$USER/job_$SLURM_JOB_ID", "$LOCAL", "/local"])
def test_scratch_is_a_path_that_may_have_variables(site_file, scratch):
    assert load(site_file(GOOD + f"scratch: {scratch}\n")).scratch == scratch


@pytest.mark.parametrize("scratch", ["local", "$(id)", "/a;b", "${LOCAL}", "/a$", "`id`"])
def test_scratch_that_a_shell_would_expand_is_refused(site_file, scratch):
    with pytest.raises(InputError, match="scratch"):
        load(site_file(GOOD + f"scratch: {scratch!r}\n"))


OWN_QUEUES = (
    CHOICE
    + """\
    account: m1234_g
    constraint: a100|h100
slurm:
  account: m1234
  qos: normal,high
  constraint: "[rack1*2&rack2*4],ib:fast=!slow+@x"
  memory: cpu
  options: [--licenses=scratch]
"""
)


def test_partitions_have_queues_of_their_own_or_those_of_the_site(site_file):
    site = load(site_file(OWN_QUEUES))
    normal, gpu = site.partitions
    assert normal.queue == {
        "account": "m1234", "qos": "normal,high", "reservation": "",
        "constraint": "[rack1*2&rack2*4],ib:fast=!slow+@x",
    }  # fmt: skip
    assert gpu.queue == normal.queue | {"account": "m1234_g", "constraint": "a100|h100"}
    assert (site.slurm.memory, site.slurm.options) == ("cpu", ("--licenses=scratch",))


@pytest.mark.parametrize(
    ("name", "offer"),
    [("gpu+debug", "gpu+debug/8c"), ("a:b=c@d", "a:b=c@d/8c"), ('x"$(y)', "x___y_/8c")],
)
def test_partitions_of_any_name_have_a_pilot_type_that_a_classad_can_name(site_file, name, offer):
    entry = json.dumps(name)
    site = load(site_file(CHOICE.replace("name: gpu", f"name: {entry}")))
    assert site.partitions[1].name == name
    assert offer in [kind.offer.name for kind in kinds(site)]


@pytest.mark.parametrize(
    ("slurm", "said"),
    [
        ("account: a b", "`slurm.account` 'a b' does not match"),
        ('qos: "a\\tb"', "`slurm.qos` 'a\\tb' does not match"),
        ("memory: all", "`slurm.memory` 'all' is not one of"),
        ("options: [--mem=3]", "`slurm.options` has '--mem=3': --mem follows from memory_mb"),
        ("cluster: a,b", "`slurm.cluster` 'a,b' does not match"),
    ],
)
def test_what_slurm_cannot_be_given_is_refused(site_file, slurm, said):
    with pytest.raises(InputError) as error:
        load(site_file(f"{GOOD}slurm:\n  {slurm}\n"))
    assert said in str(error.value)


def test_a_refused_value_comes_with_the_meaning_of_its_key(site_file):
    with pytest.raises(InputError) as error:
        load(site_file(f"{GOOD}central_manager: cm\n"))
    assert str(error.value).endswith(
        " (host:port of the pool's central manager; leave out for the OSPool)"
    )


def test_a_partition_is_listed_once(site_file):
    with pytest.raises(InputError, match="`partitions` has normal twice"):
        load(site_file(CHOICE.replace("name: gpu", "name: normal")))
