"""Requests of jobs: amounts, GPUs, extras, defaults and errors."""

from types import SimpleNamespace

import pytest
from doubles import messages
from snakemake.common.tbdstring import TBDString
from snakemake.resources import Resources

from snakemake_executor_plugin_osgpilot.errors import InputError
from snakemake_executor_plugin_osgpilot.model.resources import (
    JobClass,
    PilotType,
    Policy,
    Request,
    Shape,
)
from snakemake_executor_plugin_osgpilot.staging.container_image import NO_IMAGE, Image
from snakemake_executor_plugin_osgpilot.staging.resource_request import Requests

HOUR_S = 3600
SAYS_ALL = {"mem_mb": 500, "disk_mb": 100}


def site(pilot_h):
    """One kind of pilot, with so many hours for jobs."""
    walltime_s = pilot_h * HOUR_S + Policy(()).life_taken_s
    return Policy((PilotType("compute/4c", Shape(4, 16000), (walltime_s,)),))


class Rule(SimpleNamespace):
    def __str__(self):
        return self.name


def job(threads=1, rule="r", declared=None, size_mb=None, **resources):
    return SimpleNamespace(
        rule=Rule(name=rule, resources=declared or Resources()),
        resources=resources,
        threads=threads,
        input=[] if size_mb is None else ["file"],
        wildcards_dict={},
        is_group=lambda: False,
    )


def group(*parts, **resources):
    return SimpleNamespace(
        name="g", toposorted=[parts], threads=1, resources=resources, is_group=lambda: True
    )


@pytest.fixture
def said():
    return []


@pytest.fixture
def warned():
    return []


@pytest.fixture
def requests(said, warned):
    return Requests(site(100), messages(said, warned))


def test_numbers_become_a_shape(requests):
    asked = job(4, mem_mb=1000, disk_mb=300, runtime=50, gpu=1)
    assert requests.of(asked, NO_IMAGE) == Request(
        JobClass(Shape(4, 1024, 300, 1), HOUR_S), extras=()
    )


def test_equal_requests_are_one_object(requests):
    assert requests.of(job(**SAYS_ALL), NO_IMAGE) is requests.of(job(**SAYS_ALL), NO_IMAGE)


def test_an_image_that_travels_needs_disk(requests):
    request = requests.of(job(**SAYS_ALL), Image("/x.sif", size_mb=80))
    assert (request.container_image, request.job_class.shape.disk_mb) == ("/x.sif", 180)


@pytest.mark.parametrize("nothing", [{}, {"mem_mb": 0, "disk_mb": 0}])
def test_defaults_are_logged_once_per_rule(requests, said, nothing):
    for _ in range(3):
        shape = requests.of(job(**nothing), NO_IMAGE).job_class.shape
    assert (shape.memory_mb, shape.disk_mb) == (2048, 2000)
    assert said == [
        "rule r has no `mem_mb`: 2000 MB of memory assumed",
        "rule r has no `disk_mb`: 2000 MB of disk assumed",
    ]


@pytest.mark.parametrize(
    ("rules", "named"),
    [
        ("a", "rule a has"),
        ("ab", "rules a and b have"),
        ("abc", "rules a, b and c have"),
        ("abcdefg", "7 rules (a, b, c, d, e, …) have"),
    ],
)
def test_defaults_of_all_rules_at_the_start_are_one_line_for_each_resource(
    requests, said, rules, named
):
    with requests.gathering():
        for name in rules:
            requests.of(job(rule=name), NO_IMAGE)
    assert said == [
        f"{named} no `mem_mb`: 2000 MB of memory assumed",
        f"{named} no `disk_mb`: 2000 MB of disk assumed",
    ]
    requests.of(job(rule="late", mem_mb=1), NO_IMAGE)
    assert said[2:] == ["rule late has no `disk_mb`: 2000 MB of disk assumed"]


def by_snakemake(size_mb=None):
    """Return a job that has Snakemake's own defaults, as without --default-resources."""
    memory_mb = min(max(2 * (size_mb or 0), 1000), 8000)
    disk_mb = 50000 if size_mb is None else max(2 * size_mb, 1000)
    return job(
        declared=Resources.default("full"), size_mb=size_mb, mem_mb=memory_mb, disk_mb=disk_mb
    )


def test_snakemakes_own_formula_does_not_count_as_set(requests, said):
    assert requests.of(by_snakemake(), NO_IMAGE).job_class.shape == Shape(1, 2048, 2000)
    assert requests.of(by_snakemake(10), NO_IMAGE).job_class.shape == Shape(1, 2048, 2000)
    assert requests.of(by_snakemake(2048), NO_IMAGE).job_class.shape == Shape(1, 4096, 4096)
    assert len(said) == 2


@pytest.mark.parametrize("memory", [1000, lambda attempt: 1000 * attempt])
def test_resources_set_by_the_rule_are_used_unchanged(requests, said, memory):
    declared = Resources.from_mapping({"mem_mb": memory, "disk_mb": 100})
    asked = job(declared=declared, mem_mb=1000, disk_mb=100)
    assert requests.of(asked, NO_IMAGE).job_class.shape == Shape(1, 1024, 100)
    assert said == []


@pytest.mark.parametrize("text", ["mem_mb=1000", "mem_mb=attempt*1000"])
def test_default_resources_of_the_user_count_as_set(requests, said, text):
    declared = Resources.parse([text, "disk_mb=100"], allow_expressions=True, defaults="full")
    asked = job(declared=declared, mem_mb=1000, disk_mb=100)
    assert requests.of(asked, NO_IMAGE).job_class.shape == Shape(1, 1024, 100)
    assert said == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("mem_mb", "lots"),
        ("mem_mb", -1),
        ("disk_mb", float("nan")),
        ("runtime", "soon"),
        ("gpu", "one"),
        ("gpu", True),
    ],
)
def test_an_invalid_amount_is_rejected_with_rule_resource_and_value(requests, name, value):
    with pytest.raises(InputError, match=f"rule r: the resource {name} is {value!r}"):
        requests.of(job(**{**SAYS_ALL, name: value}), NO_IMAGE)


def test_a_gpu_model_needs_a_number_and_a_plain_name(requests):
    asked = job(**SAYS_ALL, gpu=2, gpu_model="A100 80GB", gpu_manufacturer="NVIDIA")
    request = requests.of(asked, NO_IMAGE)
    assert (request.gpu_model, request.gpu_manufacturer) == ("A100 80GB", "NVIDIA")
    with pytest.raises(InputError, match="gpu_model needs `gpu`"):
        requests.of(job(**SAYS_ALL, gpu_model="a100"), NO_IMAGE)
    with pytest.raises(InputError, match=r"gpu_model is 'a\|b'"):
        requests.of(job(**SAYS_ALL, gpu=1, gpu_model="a|b"), NO_IMAGE)
    with pytest.raises(InputError, match="gpu_manufacturer is 'acme': known are nvidia, amd"):
        requests.of(job(**SAYS_ALL, gpu=1, gpu_manufacturer="acme"), NO_IMAGE)


@pytest.mark.parametrize(
    ("pilot_h", "runtime_h", "life_h", "warning"),
    [
        (100, 8, 8, None),
        (100, 12, 40, None),
        (100, 50, 50, "hold such jobs after 40 h"),
        (30, 12, 12, None),
        (30, 24, 24, "hold such jobs after 20 h"),
    ],
)
def test_long_jobs_need_long_lived_pilots(said, warned, pilot_h, runtime_h, life_h, warning):
    requests = Requests(site(pilot_h), messages(said, warned))
    for _ in range(2):
        request = requests.of(job(**SAYS_ALL, runtime=60 * runtime_h), NO_IMAGE)
    assert request.job_class.runtime_s == life_h * HOUR_S
    assert len(warned) == (warning is not None)
    assert not warning or warning in warned[0]


def test_extras_are_checked_sorted_and_part_of_the_request(requests):
    request = requests.of(job(**SAYS_ALL, htcondor_rank="Memory", classad_X=True), NO_IMAGE)
    assert request.extras == (("My.X", "true"), ("rank", "Memory"))
    with pytest.raises(InputError, match=r"rule r: the resource htcondor_log is 'x': .* not free"):
        requests.of(job(**SAYS_ALL, htcondor_log="x"), NO_IMAGE)
    with pytest.raises(InputError, match="given twice"):
        requests.of(job(**SAYS_ALL, classad_X=1, classad_x=2), NO_IMAGE)


def test_extras_of_a_group_are_not_added_up(requests):
    first, second = job(**SAYS_ALL, classad_X=True), job(**SAYS_ALL, classad_X=True)
    request = requests.of(group(first, second, **SAYS_ALL, classad_X=2), NO_IMAGE)
    assert request.extras == (("My.X", "true"),)
    with pytest.raises(InputError, match="group job g: the resource classad_X is given twice"):
        requests.of(group(first, job(**SAYS_ALL, classad_X=3), **SAYS_ALL), NO_IMAGE)


KINDS = Policy(
    tuple(
        PilotType(f"{partition}/{cores}c", Shape(cores, 4000 * cores), (hours * HOUR_S,))
        for partition, hours in (("short", 4), ("long", 100))
        for cores in (4, 2)
    )
)


@pytest.mark.parametrize(
    ("hints", "offers"),
    [
        ({}, ()),
        ({"osgpilot_partition": "", "osgpilot_pilot_cores": TBDString()}, ()),
        ({"osgpilot_partition": "short"}, ("short/4c", "short/2c")),
        ({"osgpilot_pilot_cores": 2}, ("short/2c", "long/2c")),
        ({"osgpilot_partition": "long", "osgpilot_pilot_cores": 4}, ("long/4c",)),
    ],
)
def test_a_rule_can_select_pilot_types(said, hints, offers):
    requests = Requests(KINDS, messages(said))
    assert requests.of(job(**SAYS_ALL, **hints), NO_IMAGE).job_class.offers == offers


@pytest.mark.parametrize(
    ("hints", "line"),
    [
        (
            {"osgpilot_partition": "shrot"},
            "rule r: the resource osgpilot_partition is 'shrot'; the partitions of the site file "
            "are short, long",
        ),
        (
            {"osgpilot_partition": "short", "osgpilot_pilot_cores": 8},
            "rule r: the resource osgpilot_pilot_cores is 8; pilots that it could run on have 4, 2 "
            "cores",
        ),
        (
            {"osgpilot_pilot_cores": "4c"},
            "rule r: the resource osgpilot_pilot_cores is '4c'; pilots",
        ),
        (
            {"osgpilot_pilot_cores": True},
            "rule r: the resource osgpilot_pilot_cores is True; pilots",
        ),
    ],
)
def test_an_unknown_pilot_type_is_rejected(said, hints, line):
    with pytest.raises(InputError) as error:
        Requests(KINDS, messages(said)).of(job(**SAYS_ALL, **hints), NO_IMAGE)
    assert str(error.value).startswith(line)


def test_the_selected_pilot_types_limit_the_life(said):
    requests, runtime = Requests(KINDS, messages(said)), 12 * 60
    life_s = {
        partition: requests.of(
            job(**SAYS_ALL, runtime=runtime, osgpilot_partition=partition), NO_IMAGE
        ).job_class.runtime_s
        for partition in ("short", "long")
    }
    assert life_s == {"short": 12 * HOUR_S, "long": 40 * HOUR_S}


def test_resources_unknown_yet_get_silent_defaults(requests, said):
    shape = requests.of(job(mem_mb=TBDString(), disk_mb=100), NO_IMAGE).job_class.shape
    assert shape.memory_mb == 2048
    assert said == []


@pytest.mark.parametrize(
    ("typo", "meant"),
    [
        ("container_imge", "container_image"),
        ("Container_Image", "container_image"),
        ("gpus", "gpu"),
        ("mem_gb", "mem_mb"),
        ("memory_mb", "mem_mb"),
        ("osgproject", "osg_project"),
    ],
)
def test_a_typo_of_a_resource_is_reported_once(requests, warned, typo, meant):
    for _ in range(2):
        requests.of(job(**SAYS_ALL, **{typo: 1}), NO_IMAGE)
    line = f"rule r: the resource {typo} has no effect here; did you mean {meant}?"
    assert warned == [line]


def test_unrelated_resources_are_no_typos(requests, warned):
    of_snakemake = dict.fromkeys(("mem", "mem_mib", "disk", "disk_mib", "tmpdir", "_nodes"), 1)
    of_others = dict.fromkeys(("slurm_partition", "mem_mb_per_cpu", "nodes", "tasks", "qos"), 1)
    requests.of(job(**SAYS_ALL, **of_snakemake, **of_others, api_calls=1, load=2), NO_IMAGE)
    assert warned == []


def test_amounts_in_the_words_of_the_slurm_plugin_become_a_request(requests, said, warned):
    asked = job(2, disk_mb=100, cpus_per_task=4, mem_mb_per_cpu=1024, gres="gpu:a100:1", mpi=False)
    request = requests.of(asked, NO_IMAGE)
    assert request.job_class.shape == Shape(4, 4096, 100, 1)
    assert request.gpu_model == "a100"
    assert said == warned == []


def test_memory_of_each_core_counts_for_all_cores_of_a_group(requests):
    parts = job(1, mem_mb_per_cpu=1000, disk_mb=1), job(2, mem_mb_per_cpu=2048, disk_mb=1)
    both = group(*parts, mem_mb_per_cpu=3048, disk_mb=2, cpus_per_task=3)
    assert requests.of(both, NO_IMAGE).job_class.shape == Shape(3, 6144, 2)


def test_a_request_is_made_once_for_equal_values_of_equal_types(requests):
    first = requests.of(job(gpu=1, note=1, **SAYS_ALL), NO_IMAGE)
    assert requests.of(job(gpu=1, note=1, **SAYS_ALL), NO_IMAGE) is first
    assert requests.of(job(gpu=1, note=[1], **SAYS_ALL), NO_IMAGE) is first
    with pytest.raises(InputError, match="the resource gpu is True"):
        requests.of(job(gpu=True, note=1, **SAYS_ALL), NO_IMAGE)
