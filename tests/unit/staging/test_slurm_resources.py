"""Resources of the Slurm plugin: amounts for a pilot, and what binds a job to Slurm."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snakemake_executor_plugin_osgpilot.errors import InputError
from snakemake_executor_plugin_osgpilot.staging.slurm_resources import (
    NAMES,
    Amounts,
    Ties,
    amounts,
    ties,
)

AMOUNTS = {
    "nothing": ({}, Amounts()),
    "cores": ({"cpus_per_task": 8}, Amounts(8)),
    "no setting of cores, where a site forbids one": ({"cpus_per_task": -1}, Amounts()),
    "cores of each GPU": ({"gres": "gpu:2", "cpus_per_gpu": 6}, Amounts(12, gpus=2)),
    "no cores of GPUs that there are not": ({"cpus_per_gpu": 6}, Amounts()),
    "memory of each core": ({"mem_mb_per_cpu": 1900}, Amounts(memory_per_core_mb=1900)),
    "GPUs": ({"gres": "gpu:2"}, Amounts(gpus=2)),
    "one GPU": ({"gres": "gpu"}, Amounts(gpus=1)),
    "GPUs of a model": ({"gres": "gpu:a100:4"}, Amounts(gpus=4, gpu_model="a100")),
    "one GPU of a model": ({"gres": "gpu:a100"}, Amounts(gpus=1, gpu_model="a100")),
    "GPUs beside a disk": ({"gres": "lscratch:100,gpu:1"}, Amounts(gpus=1)),
    "a disk alone": ({"gres": "lscratch:100"}, Amounts()),
}


@pytest.mark.parametrize("name", AMOUNTS)
def test_amounts(name):
    resources, wanted = AMOUNTS[name]
    assert amounts("rule r", resources) == wanted


def test_gpu_of_snakemake_goes_before_gres():
    assert amounts("r", {"gres": "gpu:a100:4", "cpus_per_gpu": 3}, gpus=2) == Amounts(6, 0, 2)


@pytest.mark.parametrize("name", ["cpus_per_task", "mem_mb_per_cpu"])
@pytest.mark.parametrize("value", ["many", True, float("inf")])
def test_an_amount_that_is_no_number_is_an_error(name, value):
    with pytest.raises(InputError, match=f"^rule r: the resource {name} is {value!r}; it has to"):
        amounts("rule r", {name: value})


TIES = {
    "nothing": ({}, Ties()),
    "cores, memory and GPUs": (
        {"cpus_per_task": 8, "mem_mb_per_cpu": 1, "gres": "gpu:a100:1"}, Ties()
    ),
    "one node and one task": ({"nodes": 1, "tasks": 1, "mpi": False}, Ties()),
    "MPI": ({"mpi": "srun", "tasks": 64}, Ties(("mpi", "tasks"))),
    "several nodes": ({"nodes": 2}, Ties(("nodes",))),
    "several tasks on a node": ({"tasks_per_node": 4}, Ties(("tasks_per_node",))),
    "a feature": ({"constraint": "avx512&ib"}, Ties(wishes=("constraint",))),
    "a feature that pilots have": ({"constraint": "milan"}, Ties()),
    "another generic resource": ({"gres": "gpu:1,lscratch:9"}, Ties(wishes=("gres",))),
    "a generic resource with a unit": ({"gres": "nvme:100G"}, Ties(wishes=("gres",))),
    "a queue": (
        {"slurm_account": "a", "slurm_partition": "p", "qos": "q"},
        Ties(queues=("slurm_account", "slurm_partition", "qos")),
    ),
    "mail": (
        {"slurm_extra": "--mail-type=END --mail-user me@x.org"}, Ties((), (), ("slurm_extra",))
    ),
    "a node of its own": ({"slurm_extra": "--exclusive"}, Ties((), ("slurm_extra",))),
    "a licence": ({"slurm_extra": "'-L matlab'"}, Ties((), ("slurm_extra",))),
    "mail beside a licence": (
        {"slurm_extra": "--mail-type=END -L matlab"}, Ties((), ("slurm_extra",))
    ),
    "an open quote": ({"slurm_extra": "--comment='x"}, Ties((), ("slurm_extra",))),
}  # fmt: skip


@pytest.mark.parametrize("name", TIES)
def test_ties(name):
    resources, wanted = TIES[name]
    assert ties(resources, "milan") == wanted


@given(st.dictionaries(st.sampled_from(NAMES), st.sampled_from([2, 64, "x", "gpu:2", "--x"])))
def test_no_resource_of_the_slurm_plugin_is_ignored(resources):
    numbers = ("cpus_per_task", "cpus_per_gpu", "mem_mb_per_cpu")
    counts = ("nodes", "tasks", "tasks_per_node", "tasks_per_gpu")
    resources = {
        name: value
        for name, value in resources.items()
        if isinstance(value, int) == (name in numbers + counts)
    }
    if "cpus_per_task" in resources or resources.get("gres") != "gpu:2":
        # cores for GPUs that there are not, or beside cores for the task
        resources.pop("cpus_per_gpu", None)
    for name in resources:
        without = {other: value for other, value in resources.items() if other != name}
        assert ties(resources) != ties(without) or amounts("r", resources) != amounts("r", without)
