"""Pilots on which jobs fail that do well elsewhere: they would swallow a queue in minutes.

Wald's sequential probability ratio test (A. Wald, Sequential Tests of Statistical Hypotheses,
Annals of Mathematical Statistics 16, 1945) on the jobs that ended on a pilot, in order: do they
fail quickly as often as jobs of the same rule do elsewhere, or as on a bad node?
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from math import log

from snakemake_executor_plugin_osgpilot.jobs.state.table import PilotOutcomes

BAD_SHARE = 0.5
"""Of jobs on a bad node so many fail at once. One that fails fewer costs little more than to let
its pilot go, since retries succeed elsewhere."""

USUAL_SHARE_MIN, USUAL_SHARE_MAX = 0.02, 0.2
"""What is usual for a rule is never taken for less than the one, however well it did so far; where
it is more than the other, the rule is at fault, and a pilot's failures tell nothing."""

FALSE_ALARM, MISSED = 0.001, 0.01
"""How often at most a test may suspect a good pilot, and pass a bad one (Wald's alpha and beta). A
false alarm costs a pilot and its node for two hours; a bad pilot that passes is tested again."""

SUSPECT_AT, PASSED_AT = log((1 - MISSED) / FALSE_ALARM), log(MISSED / (1 - FALSE_ALARM))
"""Wald's boundaries of the logarithm of the likelihood ratio."""


@dataclass(frozen=True)
class Usual:
    """How jobs of one rule did elsewhere."""

    ended: int
    failed: int

    @property
    def share(self) -> float | None:
        """Return the share that fails anyway; None where the rule is at fault, or too few ended.

        Half a job counts as failed and half a one as well (Krichevsky and Trofimov, The Performance
        of Universal Encoding, 1981), so that a few good ends prove little.
        """
        share = (self.failed + 0.5) / (self.ended + 1)
        return max(share, USUAL_SHARE_MIN) if share <= USUAL_SHARE_MAX else None


def evidence(failed: bool, usual_share: float) -> float:
    """Return what the end of one job adds to the logarithm of the likelihood ratio."""
    if failed:
        return log(BAD_SHARE / usual_share)
    return log((1 - BAD_SHARE) / (1 - usual_share))


def score(outcomes: PilotOutcomes, usual: Mapping[str, Usual]) -> float:
    """Return where the test of a pilot stands; one that it has passed begins again."""
    total = 0.0
    for rule, failed in outcomes.recent:
        if (share := usual[rule].share) is not None:
            total += evidence(failed, share)
            total = 0.0 if total <= PASSED_AT else total
    return total


def black_holes(
    outcomes: Mapping[str, PilotOutcomes], suspects: Collection[str] = ()
) -> dict[str, str]:
    """Return the pilots that jobs should be kept away from, with the reason.

    `suspects` were found before; how jobs do there is not usual.
    """
    found = {}
    for pilot, here in outcomes.items():
        if pilot in suspects or not here.failed:
            continue
        usual = {rule: _elsewhere(rule, pilot, outcomes, suspects) for rule in here.rules}
        if score(here, usual) >= SUSPECT_AT:
            found[pilot] = _told(here, usual.values())
    return found


def _told(here: PilotOutcomes, usual: Iterable[Usual]) -> str:
    ended = failed = 0
    for each in usual:
        ended, failed = ended + each.ended, failed + each.failed
    return (
        f"{here.failed.total()} of {here.ended.total()} jobs failed there at once, "
        f"elsewhere {failed} of {ended}"
    )


def _elsewhere(
    rule: str, pilot: str, outcomes: Mapping[str, PilotOutcomes], suspects: Collection[str]
) -> Usual:
    """Return how jobs of a rule did on other pilots, but those where most of them failed.

    These say nothing of what is usual: several nodes may be bad. Where jobs fail on all pilots,
    there is nothing to compare with, and none is suspected.
    """
    ended = failed = 0
    for other, there in outcomes.items():
        if other == pilot or other in suspects:
            continue
        if there.failed[rule] <= BAD_SHARE * there.ended[rule]:
            ended += there.ended[rule]
            failed += there.failed[rule]
    return Usual(ended, failed)
