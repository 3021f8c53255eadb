"""Detect pilots on which jobs fail that succeed elsewhere: they would drain a queue in minutes.

Wald's sequential probability ratio test (A. Wald, Sequential Tests of Statistical Hypotheses,
Annals of Mathematical Statistics 16, 1945) on the jobs that ended on a pilot, in order: do they
fail quickly as often as jobs of the same rule elsewhere, or as on a bad node?
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from math import log

from .table import PilotOutcomes

BAD_SHARE = 0.5
"""Share of jobs that fail at once on a bad node. A node that fails fewer costs little more than the
loss of its pilot would, since retries succeed elsewhere."""

USUAL_SHARE_MIN, USUAL_SHARE_MAX = 0.02, 0.2
"""Lower bound of the usual share of a rule, however well it did so far; above the upper bound, the
rule is at fault, and failures on a pilot prove nothing."""

FALSE_ALARM, MISSED = 0.001, 0.01
"""Probabilities that a test suspects a good pilot, and passes a bad one (Wald's alpha and beta). A
false alarm costs a pilot and its node for two hours; a bad pilot that passes is tested again."""

SUSPECT_AT, PASSED_AT = log((1 - MISSED) / FALSE_ALARM), log(MISSED / (1 - FALSE_ALARM))
"""Wald's boundaries of the logarithm of the likelihood ratio."""


@dataclass(frozen=True)
class Usual:
    """Ends of jobs of one rule elsewhere."""

    ended: int
    failed: int

    @property
    def share(self) -> float | None:
        """Return the share that fails anyway; None if the rule is at fault, or too few ended.

        Half a job counts as failed and half a one as well (Krichevsky and Trofimov, The Performance
        of Universal Encoding, 1981), so that a few successes prove little.
        """
        share = (self.failed + 0.5) / (self.ended + 1)
        return max(share, USUAL_SHARE_MIN) if share <= USUAL_SHARE_MAX else None


def evidence(failed: bool, usual_share: float) -> float:
    """Return the contribution of one job to the logarithm of the likelihood ratio."""
    if failed:
        return log(BAD_SHARE / usual_share)
    return log((1 - BAD_SHARE) / (1 - usual_share))


def score(outcomes: PilotOutcomes, usual: Mapping[str, Usual]) -> float:
    """Return the logarithm of the likelihood ratio for a pilot; after a passed test it restarts."""
    total = 0.0
    for rule, failed in outcomes.recent:
        if (share := usual[rule].share) is not None:
            total += evidence(failed, share)
            total = 0.0 if total <= PASSED_AT else total
    return total


def black_holes(
    outcomes: Mapping[str, PilotOutcomes], suspects: Collection[str] = ()
) -> dict[str, str]:
    """Return the pilots that jobs should avoid, with the reason.

    `suspects` were found before; jobs there do not count as usual.
    """
    found = {}
    for pilot, here in outcomes.items():
        if pilot in suspects or not here.failed:
            continue
        usual = {rule: _elsewhere(rule, pilot, outcomes, suspects) for rule in here.rules}
        if score(here, usual) >= SUSPECT_AT:
            found[pilot] = _reason(here, usual.values())
    return found


def _reason(here: PilotOutcomes, usual: Iterable[Usual]) -> str:
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
    """Count jobs of a rule on other pilots, without those where most of them failed.

    Several nodes may be bad. If jobs fail on all pilots, there is nothing to compare with, and none
    is suspected.
    """
    ended = failed = 0
    for other, there in outcomes.items():
        if other == pilot or other in suspects:
            continue
        if there.failed[rule] <= BAD_SHARE * there.ended[rule]:
            ended += there.ended[rule]
            failed += there.failed[rule]
    return Usual(ended, failed)
