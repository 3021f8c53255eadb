"""Start Snakemake on the execution point, which has only the text of this file of our package.

    python -c TEXT FILE ARGUMENT...

FILE lists the jobs to run in JSON, since Snakemake's own option for that (`--target-jobs`) loses
commas and outer quotes of wildcards. The arguments are those of Snakemake.

This file patches Snakemake, as `common/snakemake_compat.py` does elsewhere. Seen with 9.27.1:
`Env.create` and `Rule.expand_input` (if renamed, the job fails with an AttributeError), the setter
of `Rule.restart_times` (if it becomes a plain attribute, likewise), and `glob_wildcards` in
`snakemake.io` and `snakemake.workflow` (if Snakefiles get it from elsewhere, they find only the
files that travelled with the job, and `compared` fails jobs whose inputs differ).
"""

import fcntl
import json
import re
import sys
from collections import namedtuple
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import wraps
from pathlib import Path
from typing import Any

from snakemake.cli import args_to_api, parse_args
from snakemake.deployment.conda import Env
from snakemake.exceptions import WorkflowError, print_exception
from snakemake.io import glob_wildcards
from snakemake.rules import Rule
from snakemake_interface_executor_plugins.utils import TargetSpec

OF_OTHERS = {"storage_object", "sourcecache_entry"}
"""Flags of inputs whose names differ here."""

PLAIN = re.compile(r"[\w.+/@%-]*")


def one_at_a_time(create: Callable[..., Any]) -> Callable[..., Any]:
    """Return `create` of a conda environment with a lock, so that one job at a time creates it.

    Snakemake would take an environment that another job is creating for an incomplete one, and
    remove it.
    """

    @wraps(create)
    def made(env: Any, *args: Any, **named: Any) -> Any:
        folder = Path(env.address).parent
        with (folder / ".osgpilot-lock").open("a") as lock:
            # some file systems have no locks; then it behaves like Snakemake alone
            with suppress(OSError):
                fcntl.flock(lock, fcntl.LOCK_EX)
            return create(env, *args, **named)

    return made


def as_found(walk: Callable[..., Any], found: dict[str, Any]) -> Callable[..., Any]:
    """Return `glob_wildcards` that returns the results of the main Snakemake if there are any."""

    @wraps(walk)
    def recorded(pattern: Any, files: Any = None, followlinks: bool = False) -> Any:
        if files is not None or str(pattern) not in found:
            return walk(pattern, files, followlinks)
        names, values = found[str(pattern)]
        return namedtuple("Wildcards", names)(*map(list, values))

    return recorded


def key_of(rule: str, wildcards: Mapping[str, str]) -> tuple[str, frozenset[tuple[str, str]]]:
    """Return the identity of a job within a workflow."""
    return rule, frozenset(wildcards.items())


def compared(expand_input: Callable[..., Any], wanted: dict[Any, list[str]]) -> Callable[..., Any]:
    """Return `expand_input` of a rule that fails if a job's inputs differ from those of the main
    Snakemake: results from other inputs would be silently wrong.
    """

    @wraps(expand_input)
    def expanded(rule: Any, wildcards: Any, groupid: Any = None) -> Any:
        result = expand_input(rule, wildcards, groupid=groupid)
        theirs = wanted.get(key_of(rule.name, wildcards))
        incomplete = result[3]
        if theirs is None or incomplete:
            return result
        ours = sorted(str(f) for f in result[0] if not OF_OTHERS.intersection(f.flags))
        if ours != theirs:
            lost = ", ".join(sorted({*theirs} ^ {*ours})[:3])
            raise WorkflowError(
                f"osgpilot: rule {rule.name} has {len(ours)} inputs here and {len(theirs)} where "
                f"Snakemake was started ({lost}, ...): its Snakefile looks at files that did not "
                "travel; let it get the names from the configuration or by glob_wildcards()"
            )
        return result

    return expanded


def main(argv: list[str]) -> int:
    """Run the jobs of the file, as `snakemake.cli.main` would."""
    content = json.loads(Path(argv[0]).read_text())
    try:
        parser, args = parse_args(argv[1:])
        args.target_jobs = [TargetSpec(rule, wildcards) for rule, wildcards in content["jobs"]]
        if args.conda_prefix:
            Env.create = one_at_a_time(Env.create)
        args.unneeded_temp_files = frozenset(content["unneeded_temp_files"])
        wanted = {key_of(rule, wildcards): inputs for rule, wildcards, inputs in content["inputs"]}
        Rule.expand_input = compared(Rule.expand_input, wanted)
        # `--retries 0` does not override `retries:` of rules, and the main Snakemake retries
        Rule.restart_times = property(lambda rule: 0, Rule.restart_times.fset)
        if Path(content["found"]).is_file():
            found = json.loads(Path(content["found"]).read_text())
            answer = as_found(glob_wildcards, found)
            for module in ("snakemake.io", "snakemake.workflow"):
                vars(sys.modules[module])["glob_wildcards"] = answer
            # another Snakemake process would not have the results
            args.force_use_threads = True
        values = [value for _, wildcards in content["jobs"] for value in wildcards.values()]
        if not all(PLAIN.fullmatch(value) for value in values):
            # otherwise `run:` of a group starts Snakemake again through a shell, with --target-jobs
            args.force_use_threads = True
        return 0 if args_to_api(args, parser) else 1
    except Exception as error:
        print_exception(error)
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
