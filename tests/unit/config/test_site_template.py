"""Site files created from, and checked against, the facts of a cluster."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from jsonschema import Draft202012Validator

from snakemake_executor_plugin_osgpilot.cli import main
from snakemake_executor_plugin_osgpilot.config import site_template as draft
from snakemake_executor_plugin_osgpilot.config.site import all_complaints, load
from snakemake_executor_plugin_osgpilot.config.site_check import problems
from snakemake_executor_plugin_osgpilot.config.site_schema import schema, schema_path
from snakemake_executor_plugin_osgpilot.config.site_template import Answers
from snakemake_executor_plugin_osgpilot.errors import InputError
from unit.config.test_slurm_facts import large, pool

TEMPLATES = sorted(Path(__file__).parents[3].glob("example-workflow/sites/*.yaml"))


@pytest.fixture
def drafted(tmp_path):
    """Write a first site file and load it."""

    def write(cluster, **answers):
        path = tmp_path / "site.yaml"
        path.write_text(draft.text(cluster, Answers(**answers), "/s.json"))
        return path, load(path)

    return write


@pytest.mark.parametrize("cluster", [pool(), large(), large(None)])
def test_template_is_valid_and_fits_the_cluster(drafted, cluster):
    path, site = drafted(cluster)
    assert path.read_text().startswith("# yaml-language-server: $schema=/s.json\n")
    assert problems(site, cluster) == []


def test_default_partition_comes_first_and_short_ones_are_skipped(drafted):
    path, site = drafted(pool())
    assert [(p.name, p.cores, p.memory_mb) for p in site.partitions] == [("compute", 4, 4000)]
    assert max(site.partitions[0].walltimes_min) == 2880
    assert "# Not used: its limit of 10 minutes is too short" in path.read_text()


def test_only_permitted_partitions_are_used(drafted):
    path, site = drafted(large())
    assert [p.name for p in site.partitions] == ["cpu"]
    text = path.read_text()
    for reason in (
        "it has the same nodes as cpu",
        "for rules that use GPUs",
        "it is for the groups biolab",
    ):
        assert f"# Not used: {reason}" in text
    assert "# 2 nodes with 126 cores, 256000 MB (2031 a core)" in text
    assert site.slurm.account == "bio"
    assert "you also have: bio-gpu" in text


def test_hidden_partition_is_known_but_not_used(drafted):
    known = pool()
    secret = replace(known.partition("compute"), name="secret", is_default=False, is_hidden=True)
    nodes = tuple(replace(node, partitions=(*node.partitions, "secret")) for node in known.nodes)
    cluster = replace(known, partitions=(secret, *known.partitions), nodes=nodes)
    path, site = drafted(cluster)
    assert [p.name for p in site.partitions] == ["compute"]
    assert "# Not used: Slurm hides it from its users" in path.read_text()
    named = replace(site, partitions=(replace(site.partitions[0], name="secret"),))
    assert problems(named, cluster) == []


def test_gpu_partitions_can_be_uncommented_as_they_are(drafted, tmp_path):
    text = drafted(large())[0].read_text()
    head, _, rest = text.partition("for rules that use GPUs.\n")
    entry = [line.replace("# ", "", 1) for line in rest.splitlines()[:7]]
    (tmp_path / "site.yaml").write_text("\n".join([head, *entry]))
    gpu = load(tmp_path / "site.yaml").partitions[-1]
    assert (gpu.name, gpu.gpus, gpu.gpu_type) == ("gpu", 4, "a100")
    assert gpu.account == "bio-gpu"


def test_answers_are_quoted_for_yaml(drafted):
    _, site = drafted(
        pool(),
        site="Home",
        resource="1e3",
        project="no",
        token="~/t",
        image="/i.sif",
        account="007",
        ssh="",
        central_manager="cm.example.org:9618",
        access_point="ap.example.org",
    )
    assert (site.site, site.resource, site.project) == ("Home", "1e3", "no")
    assert (site.slurm.account, site.image) == ("007", "/i.sif")
    assert site.central_manager == "cm.example.org:9618"
    assert site.access_point.schedd == "ap.example.org"


def test_site_template_comments_out_default_access_point(drafted):
    path, site = drafted(pool())
    assert site.access_point is None
    assert "# access_point:\n#   schedd: NAME\n" in path.read_text()


def test_no_template_without_usable_partition():
    cluster = large("guest|||\n", ())
    cluster = replace(cluster, partitions=cluster.partitions[2:4])
    with pytest.raises(InputError, match=r"no partition of peak .*gpu: it is for the accounts"):
        draft.text(cluster, Answers(), "")


FIXED = {"pilot": {"cores": 4, "memory_mb": 3000, "walltime_min": 60}}


def site_of(tmp_path, **content):
    names = {"site": "S", "resource": "R", "token": "~/t", "image": "docker://i"}
    path = tmp_path / "site.yaml"
    path.write_text(yaml.safe_dump(names | content))
    return load(path)


@pytest.mark.parametrize(
    ("entry", "line"),
    [
        ({"name": "nope"}, "`partitions.0.name` is nope: there is no such partition; known: cpu"),
        ({"name": "old"}, "`partitions.0.name` is old: it takes no jobs at the moment; use one of"),
        ({"name": "lab"}, "`partitions.0.name` is lab: it is for the groups biolab; use one of"),
        ({"cores": 200}, "`partitions.0.cores` is 200: its largest node has 126 cores; write 126"),
        ({"memory_mb": 2_000_000}, "its largest node has 1030000 MB of memory; write 1030000"),
        ({"memory_mb": 300_000, "name": "shared"}, "its largest node has 128000 MB of memory"),
        ({"gpus": 2}, "`partitions.0.gpus` is 2: its largest node has 0 GPUs; write 0"),
        ({"name": "gpu", "gpus": 2, "gpu_type": "h100"}, "has 0 GPUs of type h100"),
        ({"walltime_max_min": 9000}, "the limit of partition cpu is 5760 minutes; write 5760"),
        ({"walltime_max_min": 3000}, "the limit of your account is 2880 minutes; write 2880"),
    ],
)
def test_each_problem_is_one_line_with_key_value_and_fix(tmp_path, entry, line):
    usual = {"name": "cpu", "cores": 16, "memory_mb": 8000, "walltime_max_min": 600}
    site = site_of(tmp_path, partitions=[usual | entry])
    (found,) = problems(site, large())
    assert line in str(found)


def test_a_fixed_pilot_is_named_by_its_own_keys(tmp_path):
    site = site_of(tmp_path, slurm={"partition": "debug"}, **FIXED)
    assert "`pilot.walltime_min` is 60: the limit of partition debug is 15 minutes" in str(
        problems(site, large())[0]
    )


def test_accounts_and_quality_of_service_are_compared(tmp_path):
    site = site_of(tmp_path, slurm={"partition": "gpu", "account": "bio", "qos": "long"}, **FIXED)
    account, qos = map(str, problems(site, large()))
    assert "partition gpu does not take it; it takes bio-gpu, chem-gpu" in account
    assert "`slurm.qos` is long: partition gpu does not take it; it takes gpu" in qos
    stranger = site_of(tmp_path, slurm={"partition": "cpu", "account": "other"}, **FIXED)
    lines = [str(each) for each in problems(stranger, large())]
    assert any("you have no such account; yours are bio, bio-gpu" in line for line in lines)


def test_all_schema_errors_are_reported_at_once(tmp_path):
    path = tmp_path / "site.yaml"
    path.write_text("site: a b\nresource: R\ncolour: red\ntoken: t\npilot:\n  cores: many\n")
    lines = all_complaints(path)
    assert any("line 3: `colour` is not known" in line for line in lines)
    assert any("line 1: `site`" in line for line in lines)
    assert any("line 6: `pilot.cores`" in line for line in lines)


def _described(part, where="site file"):
    for name, each in part.get("properties", {}).items():
        yield f"{where}.{name}", each
        yield from _described(each, f"{where}.{name}")
        yield from _described(each.get("items", {}), f"{where}.{name}[]")


def test_the_schema_is_of_the_draft_it_names_and_describes_every_key():
    assert schema()["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    Draft202012Validator.check_schema(schema())
    assert [name for name, each in _described(schema()) if not each.get("description")] == []


def test_the_schema_can_be_printed_and_is_the_one_that_is_used():
    printed = CliRunner().invoke(main, ["site", "schema"]).output
    assert json.loads(printed) == schema()
    where = CliRunner().invoke(main, ["site", "schema", "--path"]).output
    assert where == f"{schema_path()}\n"


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.stem)
def test_templates_are_valid_and_name_their_source(path):
    assert load(path).partitions
    text = path.read_text()
    first = text.splitlines()[0]
    assert (path.parent / first.removeprefix("# yaml-language-server: $schema=")).resolve() == (
        schema_path().resolve()
    )
    assert "https://" in text
    assert "osgpilot site check" in text


def test_there_are_templates():
    assert [path.stem for path in TEMPLATES] == ["anvil", "bridges-2", "expanse"]
