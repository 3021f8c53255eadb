"""Starts Snakemake on the execution point, which has this file's text and nothing else of ours.

    python -c TEXT FILE ARGUMENT...

FILE tells in JSON which jobs to run, since Snakemake's own option for that (`--target-jobs`) loses
commas and outer quotes of wildcards. The arguments are those of Snakemake.
"""

import fcntl
import json
import re
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import wraps
from pathlib import Path
from typing import Any

from snakemake.cli import args_to_api, parse_args
from snakemake.deployment.conda import Env
from snakemake.exceptions import print_exception
from snakemake_interface_executor_plugins.utils import TargetSpec

PLAIN = re.compile(r"[\w.+/@%-]*")


def one_at_a_time(create: Callable[..., Any]) -> Callable[..., Any]:
    """Return `create` of a conda environment such that no two jobs make it at a time.

    Snakemake takes one that another job is just making for the remains of an attempt, and
    removes it.
    """

    @wraps(create)
    def made(env: Any, *args: Any, **named: Any) -> Any:
        folder = Path(env.address).parent
        with (folder / ".osgpilot-lock").open("a") as lock:
            # some file systems have no locks; then it is as with Snakemake alone
            with suppress(OSError):
                fcntl.flock(lock, fcntl.LOCK_EX)
            return create(env, *args, **named)

    return made


def main(argv: list[str]) -> int:
    """Do what `snakemake.cli.main` does, with the jobs of the file."""
    told = json.loads(Path(argv[0]).read_text())
    try:
        parser, args = parse_args(argv[1:])
        args.target_jobs = [TargetSpec(rule, wildcards) for rule, wildcards in told["jobs"]]
        if args.conda_prefix:
            Env.create = one_at_a_time(Env.create)
        args.unneeded_temp_files = frozenset(told["unneeded_temp_files"])
        values = [value for _, wildcards in told["jobs"] for value in wildcards.values()]
        if not all(PLAIN.fullmatch(value) for value in values):
            # else `run:` of a group starts Snakemake again, with --target-jobs, by a shell
            args.force_use_threads = True
        return 0 if args_to_api(args, parser) else 1
    except Exception as error:
        print_exception(error)
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
