"""Several site files of one run: what they become, and which do not belong together."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from snakemake_executor_plugin_osgpilot.config.run_options import Limits, policy_of
from snakemake_executor_plugin_osgpilot.config.site import load
from snakemake_executor_plugin_osgpilot.config.sites import (
    load_all,
    of_plain_jobs,
    project_of,
    site_files,
)
from snakemake_executor_plugin_osgpilot.errors import InputError
from snakemake_executor_plugin_osgpilot.htcondor.factory import place_of
from snakemake_executor_plugin_osgpilot.model.resources import SiteLimits
from snakemake_executor_plugin_osgpilot.staging.resource_request import pinned

A = """\
site: Home
resource: A
token: token
image: pilot.sif
partitions:
  - {name: cpu, cores: 8, memory_mb: 16000, walltime_max_min: 600}
"""
BEHIND = A.replace("resource: A", "resource: B\nslurm: {ssh: far}").replace("token: t", "token: /t")
B = BEHIND.replace("image: ", "image: /")
LIMITS = Limits(20, 10, None, 100.0, 0.5)


@pytest.fixture
def files(tmp_path):
    def write(*texts):
        paths = [tmp_path / f"{'ab'[n]}.yaml" for n in range(len(texts))]
        for path, text in zip(paths, texts, strict=True):
            path.write_text(text)
        return site_files(",".join(map(str, paths)))

    return write


def names(sites):
    return [offer.name for offer in policy_of(sites, LIMITS).offers]


def test_one_file_is_read_as_it_was_before(files):
    (file,) = files(A)
    assert load_all((file,)) == (load(file),)
    assert names(load_all((file,))) == ["cpu/8c", "cpu/4c"]


def test_pilot_types_of_several_sites_are_named_after_their_site(files):
    sites = load_all(files(A, B))
    assert names(sites) == ["A:cpu/8c", "A:cpu/4c", "B:cpu/8c", "B:cpu/4c"]
    assert policy_of(sites, LIMITS).sites == ("A", "B")


def test_limits_and_prices_of_a_site_reach_the_planner(files):
    own = "limits: {max_pilots: 3, max_core_hours: 10}\ncost_per_core_h: "
    policy = policy_of(load_all(files(f"{A}{own}2\n", f"{B}cost_per_core_h: 0.5\n")), LIMITS)
    assert policy.site_limits == (SiteLimits("A", 3, None, 36000.0),)
    assert [offer.price for offer in policy.offers] == [2, 2, 0.5, 0.5]
    assert policy.core_s_max == 360000


@pytest.mark.parametrize(
    ("second", "said"),
    [
        (A, "both have `resource: A`"),
        (f"{B}central_manager: cm.example.org\n", "`central_manager` is ospool and cm.example.org"),
        (f"{B}access_point: {{schedd: ap.example.org}}\n", "`access_point` differs"),
        (f"{B}cost_per_core_h: 1\n", "one has no `cost_per_core_h`"),
    ],
)
def test_sites_that_cannot_serve_one_run_are_refused_by_file(files, second, said):
    with pytest.raises(InputError, match=said) as refusal:
        load_all(files(A, second))
    assert "a.yaml and " in str(refusal.value)
    assert "b.yaml: " in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_files_are_separated_by_commas_and_each_is_expanded(monkeypatch):
    monkeypatch.setenv("HOME", "/home/alice")
    monkeypatch.setenv("SITES", "/sites")
    found = site_files("~/a.yaml, ~/b.yaml,$SITES/c.yaml,")
    assert [str(path) for path in found] == [
        "/home/alice/a.yaml", "/home/alice/b.yaml", "/sites/c.yaml",
    ]  # fmt: skip


def test_a_comma_in_the_name_of_a_folder_separates_nothing(tmp_path):
    folder = tmp_path / "my project (v1, it's, mine)"
    folder.mkdir()
    here, there = folder / "site.yaml", tmp_path / "there.yaml"
    for file in (here, there):
        file.touch()
    assert site_files(str(here)) == (here,)
    assert site_files(f"{there},{here}, {there}") == (there, here, there)


def test_names_that_together_are_too_long_are_read_one_by_one(tmp_path):
    files = [tmp_path / f"{letter * 200}.yaml" for letter in "ab"]
    assert site_files(",".join(map(str, files)).replace(f",{tmp_path}/", ",")) == (
        files[0],
        Path(files[1].name),
    )


def test_project_is_of_the_first_file_that_has_one_and_plain_jobs_stay_here(files):
    sites = load_all(files(B, f"{A}project: Mine\n"))
    assert project_of(sites) == "Mine"
    assert project_of(sites[:1]) == ""
    assert of_plain_jobs(sites).resource == "A"
    assert of_plain_jobs(sites[:1]).resource == "B"


def test_place_of_a_run_has_every_site(files):
    place = place_of(load_all(files(A, B)), None).with_folders({"B": "/home/alice/x/r1"})
    assert [(site.site, site.ssh, site.folder) for site in place.sites] == [
        ("A", "", ""), ("B", "far", "/home/alice/x/r1"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("partition", "there"),
    [("cpu", ("A:cpu/4c", "B:cpu/4c")), ("B:cpu", ("B:cpu/4c",))],
)
def test_a_rule_names_a_partition_of_any_site_or_of_one(files, partition, there):
    offers = policy_of(load_all(files(A, B)), LIMITS).offers
    wanted = {"osgpilot_partition": partition, "osgpilot_pilot_cores": 4}
    job = SimpleNamespace(resources=wanted)
    assert pinned("rule x", [job], offers) == there
