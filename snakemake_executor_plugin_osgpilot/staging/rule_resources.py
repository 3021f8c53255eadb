"""The resources of rules that this plugin reads: their meaning and values."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

from ..errors import InputError
from ..htcondor.raw_submit_commands import ATTRIBUTE, COMMAND
from ..model.identity import PilotSharing
from . import slurm_resources

DEFAULTS_MB = {"mem_mb": 2000, "disk_mb": 2000}
"""Defaults if a rule sets nothing; the same as the OSPool's."""

HINT, PROJECT, SHARING = "ospool", "osg_project", "osgpilot_pilot_sharing"
PARTITION, PILOT_CORES = "osgpilot_partition", "osgpilot_pilot_cores"
BUNDLE = "osgpilot_bundle"
IMAGE, RUNTIME_IMAGE = "container_image", "osgpilot_runtime_image"
GPU, GPU_MODEL, GPU_MANUFACTURER = "gpu", "gpu_model", "gpu_manufacturer"

OURS = "osgpilot_"
"""Prefix of resources that only this plugin reads."""

NEAR = 0.8
"""Minimum similarity of a typo and the name that was meant (`difflib.SequenceMatcher.ratio`)."""


@dataclass(frozen=True)
class Resource:
    """A resource of a rule: its `values` with their unit, and its default."""

    name: str
    meaning: str
    values: str
    default: str


RESOURCES = (
    Resource("threads", "cores of the job", "whole number", "1"),
    Resource(
        "mem_mb",
        "memory of the job; `mem` takes text",
        'MB; `mem`: `"4GB"`',
        f"{DEFAULTS_MB['mem_mb']} MB",
    ),
    Resource(
        "disk_mb",
        "scratch space of the job; `disk` takes text. The size of an image that travels is added",
        'MB; `disk`: `"20GB"`',
        f"{DEFAULTS_MB['disk_mb']} MB",
    ),
    Resource(
        "runtime",
        "maximum runtime of the job; it starts only on a pilot that lives longer",
        'minutes, or text: `"2h"`',
        "no limit known",
    ),
    Resource(GPU, "GPUs of the job", "whole number", "0"),
    Resource(
        GPU_MODEL,
        "words of the GPU's name in HTCondor, in any case",
        'text: `a100`, `"A100 SXM4 40GB"`; needs `gpu`',
        "any model",
    ),
    Resource(GPU_MANUFACTURER, "manufacturer of the GPU", "`nvidia` or `amd`; needs `gpu`", "any"),
    Resource(
        IMAGE,
        "[image](software.md#containers) in which the command runs",
        "path or URL",
        "the rule's `container:` with `--sdm apptainer`, else none",
    ),
    Resource(
        "cpus_per_task",
        "of the Slurm plugin: cores of the job, if more than `threads`; `cpus_per_gpu` likewise, "
        "for each GPU",
        "whole number",
        "`threads`",
    ),
    Resource(
        "mem_mb_per_cpu",
        "of the Slurm plugin: memory of the job per core, instead of `mem_mb`",
        "MB",
        "`mem_mb`",
    ),
    Resource(
        "gres",
        "of the Slurm plugin: GPUs and their model, where `gpu` is not set; with anything else in "
        "it, the rule is for [plain Slurm](../concepts/routing.md)",
        "text: `gpu:2`, `gpu:a100:1`",
        "no GPUs",
    ),
    Resource(
        HINT,
        "whether this rule's jobs go to [the OSPool](../concepts/routing.md)",
        '`True`, `False` or `"auto"`',
        "as `osgpilot-offload` says",
    ),
    Resource(
        PROJECT,
        "project to which this rule's jobs are accounted",
        "name of a project",
        "`osgpilot-project`",
    ),
    Resource(
        SHARING,
        "[whose jobs](../concepts/how-it-works.md#who-may-use-the-pilots) this rule's pilots take",
        ", ".join(f"`{whose}`" for whose in PilotSharing),
        "`osgpilot-pilot-sharing`",
    ),
    Resource(
        PARTITION,
        "partition of the only pilots on which this rule's jobs run",
        "a `name` of the site file's `partitions`; `default` if it has none",
        "any",
    ),
    Resource(
        PILOT_CORES,
        "cores of the only pilots on which this rule's jobs run",
        "whole number",
        "any",
    ),
    Resource(
        BUNDLE,
        "seconds that a [bundle](../concepts/bundles.md) of this rule's short jobs should take",
        'number, `"auto"` or `"off"`',
        "`osgpilot-bundle`",
    ),
    Resource(
        RUNTIME_IMAGE,
        "image with Snakemake for this rule",
        "path or URL",
        "`osgpilot-runtime-image`",
    ),
    Resource(
        f"{COMMAND}<command>",
        'a submit command of HTCondor, such as `htcondor_rank="TARGET.Memory"`',
        "text or number",
        "",
    ),
    Resource(
        f"{ATTRIBUTE}<Attribute>",
        "an attribute of the job ad, such as `classad_WantPreemption=False`",
        "text, number, `True` or `False`",
        "",
    ),
)


def check_names(who: str, names: Iterable[str]) -> None:
    """Raise `InputError` for an unknown resource with our prefix: a typo."""
    known = [name for name in _NAMES if name.startswith(OURS)]
    for name in names:
        if name.startswith(OURS) and name not in known:
            near = _near(name, known)
            advice = f"did you mean {near}?" if near else f"there are {', '.join(known)}"
            raise InputError(f"{who}: there is no resource {name}; {advice}")


@cache
def meant(name: str) -> str:
    """Return the resource that `name` may be a typo of, empty if none.

    A workflow may have resources of its own, so it need not be a mistake.
    """
    of_others = name in _OF_OTHERS or name.startswith((OURS, COMMAND, ATTRIBUTE, "slurm_", "_"))
    return "" if of_others or name in _NAMES else _near(name, _NAMES)


_NAMES = [resource.name for resource in RESOURCES if "<" not in resource.name]

_OF_OTHERS = {"mem", "mem_mib", "disk", "disk_mib", "tmpdir", *slurm_resources.NAMES}
"""Resources of Snakemake and its plugin for Slurm that look like some that are read here."""


def _near(name: str, known: list[str]) -> str:
    return next(iter(difflib.get_close_matches(name.lower(), known, 1, NEAR)), "")
