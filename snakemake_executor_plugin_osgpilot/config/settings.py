"""The settings of the executor: `--osgpilot-NAME`, profile keys, `SNAKEMAKE_OSGPILOT_NAME`.

Snakemake reads the annotations at run time and requires `Optional[...]`. Its parser shows neither
choices nor defaults of plugins, so every help text has its own.
"""

# ruff: noqa: UP006, UP035, UP045

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, List, Optional

from snakemake_interface_executor_plugins.settings import CommonSettings, ExecutorSettingsBase

DEFAULT_URL_SCHEMES = "osdf,pelican,https,http,s3"

common_settings = CommonSettings(
    non_local_exec=True,
    # a constant of the plugin; without a shared file system, set `--shared-fs-usage none`
    implies_no_shared_fs=False,
    job_deploy_sources=False,
    pass_default_storage_provider_args=True,
    pass_default_resources_args=True,
    # environment values would end up in the job's command line
    pass_envvar_declarations_to_cmd=False,
    # would make every job install every storage plugin
    auto_deploy_default_storage_provider=False,
    can_transfer_local_files=True,
)


def _metadata(metavar: str, text: str, **more: object) -> dict[str, Any]:
    """Return the metadata of a setting for Snakemake; an environment variable can set each."""
    return {"help": text, "metavar": metavar, "env_var": True, **more}


@dataclass
class ExecutorSettings(ExecutorSettingsBase):  # type: ignore[misc]
    """Settings of a run. Resources of single rules are in the docs."""

    project: Optional[str] = field(
        default=None,
        metadata=_metadata(
            "NAME",
            "Project that jobs and pilots are accounted to, as your access point knows it. "
            "[default: the environment variable OSG_PROJECT_NAME, then `project` of the site "
            "file]",
        ),
    )
    pilot_sharing: Optional[str] = field(
        default="workflow",
        metadata=_metadata(
            "WHOSE",
            "Jobs of the project that may run on the pilots: those of this run (workflow), all "
            "of yours (owner), or everybody's (project). Jobs of others could read the pilot's "
            "token. [default: workflow]",
            choices=["workflow", "owner", "project"],
        ),
    )
    site: Optional[Path] = field(
        default=None,
        metadata=_metadata(
            "FILE",
            "Site file (YAML): the Slurm cluster where pilots run; `osgpilot site init` writes "
            "one. Separate several by commas: pilots run at all of these sites. Required.",
            required=True,
        ),
    )
    access_point: Optional[str] = field(
        default=None,
        metadata=_metadata(
            "NAME",
            "Access point that jobs are submitted to: the name of a schedd on another host, or "
            "`local`. Overrides the site file. [default: the site file's, else local]",
        ),
    )
    runtime_image: Optional[str] = field(
        default=None,
        metadata=_metadata(
            "IMAGE",
            "Container image with Snakemake, for rules with `run:`, for files that a storage "
            "plugin transfers, and for scripts without an image: a SIF file or an image that "
            "HTCondor can fetch. [default: the rule's own image, else the Python environment of "
            "this Snakemake, packed once]",
        ),
    )
    conda_image: Optional[str] = field(
        default=None,
        metadata=_metadata(
            "IMAGE",
            "Container image with conda, micromamba or mamba (a SIF file or an image that HTCondor "
            "can fetch). With it, jobs in pilots create the environments of `--sdm conda` that "
            "have a file, and this machine needs no conda. [default: the conda of this machine "
            "creates them]",
        ),
    )
    shared_prefixes: List[str] = field(
        default=None,  # type: ignore[arg-type]
        metadata=_metadata(
            "FOLDER",
            "Folders that exist at the same path on the pilots' nodes and on this machine "
            "(comma-separated). Files below them are not transferred if a rule names them by "
            "absolute path; files with relative paths always are. [default: none]",
            nargs="+",
        ),
    )
    shared_inputs: Optional[str] = field(
        default="auto",
        metadata=_metadata(
            "SIZE",
            "Input files and folders that at least three jobs read are sent once to each pilot: "
            "those of 10 MB or more (auto), of this size in MB or more (a number), or none "
            "(off). Needs HTCondor 25.14 at an access point on this machine. [default: auto]",
        ),
    )
    url_schemes: List[str] = field(
        default=None,  # type: ignore[arg-type]
        metadata=_metadata(
            "SCHEME",
            "Schemes (comma-separated) of storage inputs that HTCondor fetches on the execution "
            f"point. [default: {DEFAULT_URL_SCHEMES}]",
            nargs="+",
        ),
    )
    on_exit: str = field(
        default="cancel",
        metadata=_metadata(
            "WHAT",
            "Action on Ctrl-C and SIGTERM: cancel jobs and pilots (cancel), or leave them "
            "running until the same command resumes the run (detach). [default: cancel]",
            choices=["cancel", "detach"],
        ),
    )
    notify: Optional[str] = field(
        default=None,
        metadata=_metadata(
            "TARGET",
            "Where to send a message when the run ends or needs your attention (the budget is "
            "spent, or pilots run no job): `mail:ADDRESS`; a URL, which gets JSON by POST; or a "
            "command, which gets the text on its standard input. Set a URL with a secret in the "
            "environment. [default: nowhere]",
        ),
    )
    max_pilots: int = field(
        default=20,
        metadata=_metadata(
            "PILOTS",
            "Maximum number of simultaneous pilots, including pending ones, at all sites "
            "together; 1 or more. [default: 20]",
        ),
    )
    max_pending: int = field(
        default=10,
        metadata=_metadata(
            "PILOTS",
            "Maximum number of pending pilots in Slurm's queue (of each site); 1 or more. "
            "[default: 10]",
        ),
    )
    max_cores: Optional[int] = field(
        default=None,
        metadata=_metadata(
            "CORES",
            "Maximum number of cores of all simultaneous pilots; 1 or more. [default: no limit]",
        ),
    )
    max_core_hours: Optional[float] = field(
        default=None,
        metadata=_metadata(
            "HOURS",
            "Budget of the run in core-hours, above 0. Every pilot counts with its whole "
            "walltime until it has ended, so the budget holds even if this process dies. "
            "[default: no limit]",
        ),
    )
    max_queued: int = field(
        default=10_000,
        metadata=_metadata(
            "JOBS",
            "Maximum number of the run's jobs in the access point's queue, 1 or more; others "
            "wait with Snakemake. The OSPool allows 10,000 for each user. [default: 10000]",
        ),
    )
    bundle: Optional[str] = field(
        default="auto",
        metadata=_metadata(
            "SECONDS",
            "Run short jobs of a rule in sequence as one HTCondor job, a bundle, with an "
            "expected runtime of at most this time (a number of seconds, or auto: 60), or each "
            "job separately (off). [default: auto]",
        ),
    )
    cost_weight: float = field(
        default=0.5,
        metadata=_metadata(
            "WEIGHT",
            "Weight of core-hours against time, from 0 to 1: 0 is as fast as possible, 1 as "
            "cheap as possible; with 0.5, one per cent less time is worth one per cent more "
            "core-hours. [default: 0.5]",
        ),
    )
    offload: Optional[str] = field(
        default="auto",
        metadata=_metadata(
            "WHEN",
            "Rules that run on the OSPool if they do not set the resource ospool: those that "
            "suit it and are worth pilots (auto), all that a pilot can run (always), or none "
            "(never). Without plain Slurm as a fallback, auto is the same as always. "
            "[default: auto]",
            choices=["auto", "always", "never"],
        ),
    )
    fallback: Optional[str] = field(
        default=None,
        metadata=_metadata(
            "WHERE",
            "Destination of jobs that do not run on the OSPool: plain Slurm jobs (slurm, by "
            "snakemake-executor-plugin-slurm), on this machine (local), or nowhere (none). "
            "[default: slurm if that plugin is installed, else local]",
            choices=["slurm", "local", "none"],
        ),
    )
