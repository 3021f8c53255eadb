"""Draft plain jobs, of which a rule has thousands, from what all of them have in common.

A plain job runs a shell command by itself, and its files are relative paths below the working
folder that only `temp()` and `ancient()` may mark. What benchmarks, groups, storage and the like
add to a payload is empty, so only paths and command are left to find for each job. The result is
that of `direct.build`.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import NamedTuple, cast

from ..common.snakemake_compat import with_shell_affixes
from ..common.snakemake_types import AnyJob, Resources, Rule, SingleJob
from ..model.resources import OWN_ROOT, Request
from .container_image import Image
from .cwl import is_cwl
from .direct import command_of, prologue, resources_there, settle, shell_of, tmpdir_there
from .early_values import resources_of, values_of
from .outside_folders import climbs
from .path_rewriting import PathRewriter
from .payload import Payload
from .places import ROOT, absolute_of
from .resource_request import Requests
from .scripts import has_script
from .templates import is_template
from .transfer_policy import TransferPolicy, ordered

REMEMBERED_MAX = 1000
"""What jobs have in common is kept for this many combinations of values."""

_WITHOUT_EFFECT = frozenset(("temp", "ancient"))
"""Flags of files that change nothing of a job outside of groups."""


def plain(job: AnyJob) -> SingleJob | None:
    """Return `job` if it is plain, None otherwise."""
    if job.is_group():
        return None
    single = cast("SingleJob", job)
    is_alone = single.group is None and single.dag.get_job_group(single) is None
    if not is_alone or single.benchmark or not _is_plain_rule(single.rule):
        return None
    if not all(map(_is_plain_file, chain(single.input, single.output, single.log))):
        return None
    return None if any(map(climbs, single.wildcards_dict.values())) else single


def _is_plain_rule(rule: Rule) -> bool:
    other = has_script(rule) or is_cwl(rule) or is_template(rule)
    return rule.shellcmd is not None and not (other or rule.conda_env or rule.env_modules)


def _is_plain_file(file: str) -> bool:
    flags = getattr(file, "flags", None)
    if flags and not _WITHOUT_EFFECT.issuperset(flags):
        return False
    return not file.startswith("/") and ".." not in file and ROOT not in file


class _SameValues(NamedTuple):
    """What jobs with the same resources and threads have in common; `requests` are made when the
    first job needs them, by whether scripts use absolute paths of this machine.
    """

    resources: Resources
    prologue: str
    requests: dict[bool, Request]


@dataclass(frozen=True)
class PlainJobs:
    """The plain jobs of one rule that run in the same image; `paths` is the rewriter of any of
    them.
    """

    image: Image
    environment: Mapping[str, str]
    traffic: TransferPolicy
    requests: Requests
    paths: PathRewriter
    _known: dict[Hashable, _SameValues] = field(default_factory=dict)

    def draft(self, job: SingleJob) -> tuple[Payload, Request]:
        """Return payload and request of one of them. Raises `InputError`."""
        same = self._same(job)
        settle(job, same.resources)
        workdir = self.paths.workdir
        files = chain(job.input, job.output, job.log)
        paths = replace(self.paths, known=frozenset(absolute_of(each, workdir) for each in files))
        text, named = paths.rewritten(command_of(job, same.resources))
        shell = shell_of(job)
        command = f"{with_shell_affixes(text, shell)}\n"
        outputs = ordered(job.output)
        made = set(outputs)
        given = (path for path in ordered(job.input) if path not in made)
        payload = Payload(
            scripts=(f"{same.prologue}{command}",),
            interpreter=shell,
            inputs=ordered(chain(given, named)),
            outputs=outputs,
            logs=ordered(job.log),
            shared_prefixes=self.traffic.shared_prefixes,
            unknown=paths.unknown(command),
        )
        if named:
            payload = payload.placed(job)
        return payload, self._request(job, same, is_named=payload.is_named)

    def _request(self, job: SingleJob, same: _SameValues, *, is_named: bool) -> Request:
        own_root = is_named and bool(self.image.name)
        if own_root not in same.requests:
            lines = ((f"My.{OWN_ROOT}", "true"),) if own_root else ()
            same.requests[own_root] = self.requests.of(job, self.image, lines)
        return same.requests[own_root]

    def _same(self, job: SingleJob) -> _SameValues:
        asked = values_of(resources_of(job))
        key = (int(job.threads), bool(job.input), asked, tmpdir_there(job))
        try:
            known = self._known.get(key)
        except TypeError:
            # a value that cannot be hashed, such as a list
            return self._made_for(job)
        if known is None:
            if len(self._known) >= REMEMBERED_MAX:
                self._known.clear()
            known = self._known[key] = self._made_for(job)
        return known

    def _made_for(self, job: SingleJob) -> _SameValues:
        resources = resources_there(job)
        before = prologue(job, self.environment, self.traffic, resources)
        return _SameValues(resources, before, {})
