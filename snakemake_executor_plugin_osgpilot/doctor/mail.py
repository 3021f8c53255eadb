"""The mail to the OSG for what only its staff can grant. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ..common.idtokens import JOIN_POOL
from .findings import Finding, Verdict

TO = "support@osg-htc.org"
"""OSG site documentation, containers launched by users."""


@dataclass(frozen=True)
class Asker:
    """The sender and the cluster; unknown values are left to be filled in."""

    name: str
    site: str = "(GLIDEIN_Site, e.g. the institution)"
    resource: str = "(GLIDEIN_ResourceName, e.g. Institution-Cluster)"
    project: str = "(name, as Institution_PILastname)"
    cluster: str = "(name of the cluster and of its login host)"
    size: str = "(how many nodes and cores pilots may use)"


def missing(findings: Iterable[Finding]) -> frozenset[str]:
    """Return which of `token` and `project` to ask for, from the checks of these names."""
    bad = (Verdict.FAILED, Verdict.UNTESTED, Verdict.WARNING)
    return frozenset(
        each.name for each in findings if each.name in ("token", "project") and each.verdict in bad
    )


def text(asker: Asker, wanted: frozenset[str]) -> str:
    """Return the mail. It always says what will run, as the OSPool's policy demands."""
    asked = [_TOKEN] * ("token" in wanted) + [_PROJECT] * ("project" in wanted)
    numbered = "\n\n".join(f"{n}. {part}" for n, part in enumerate(asked, 1))
    subject = " and ".join(sorted(wanted)) or "automated pilots"
    template = _MAIL if asked else _NOTICE
    return template.format(
        to=TO,
        subject=subject,
        wanted=numbered.format(**vars(asker), scopes=" ".join(("READ", *JOIN_POOL))),
        **vars(asker),
    )


_HEAD = """\
To: {to}
Subject: OSPool pilots on {cluster}: {subject}

Dear OSG support,

I would like to run Snakemake workflows on the OSPool with compute nodes of our own Slurm
cluster. The program is snakemake-executor-plugin-osgpilot. It submits jobs to an access point
and starts your pilot container (osg-htc/ospool-ep) as Slurm jobs, restricted to my project and
my own jobs. It asks the access point at most once a minute and keeps no more than 10,000 jobs
in the queue. Your policy asks users to contact you before they automate submission; please tell me
if anything about this is not welcome.

Cluster: {cluster}; {size}
Site and resource: {site}, {resource}
"""
_MAIL = (
    _HEAD
    + """
Could you please help me with this:

{wanted}

With kind regards,
{name}
"""
)
_NOTICE = (
    _HEAD
    + """
Token and project are there; this is for your information.

With kind regards,
{name}
"""
)
_TOKEN = """A token for pilots of the resource {resource}. If the resource is not registered in
   Topology yet (service: Execution Endpoint), please tell me what you need to know for it.
   Scopes: {scopes}."""
_PROJECT = """A project. Name: {project}. Principal investigator, institution, field of science and
   description of the work: (please fill in)."""
