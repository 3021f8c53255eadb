"""Pilots on which jobs fail that do well elsewhere: they would swallow a queue in minutes."""

from __future__ import annotations

from collections.abc import Mapping

from snakemake_executor_plugin_osgpilot.core.ledger import Outcomes

FAILED_MIN, FAILED_SHARE = 3, 0.5
"""So many quick failures, and more than this share of what ended there, make a pilot suspect."""

ELSEWHERE_MIN, ELSEWHERE_SHARE = 3, 0.1
"""It takes so many jobs that ended elsewhere, of which at most this share failed quickly. Otherwise
the rule may be at fault, and there is nothing to tell the two apart."""


def black_holes(outcomes: Mapping[str, Outcomes]) -> dict[str, str]:
    """Return the pilots that jobs should be kept away from, with the reason."""
    ended = sum(each.ended for each in outcomes.values())
    failed = sum(each.failed_quickly for each in outcomes.values())
    found = {}
    for pilot, here in outcomes.items():
        others, others_failed = ended - here.ended, failed - here.failed_quickly
        suspect = here.failed_quickly >= FAILED_MIN
        suspect &= here.failed_quickly > FAILED_SHARE * here.ended
        if suspect and others >= ELSEWHERE_MIN and others_failed <= ELSEWHERE_SHARE * others:
            found[pilot] = (
                f"{here.failed_quickly} of {here.ended} jobs failed there at once, "
                f"elsewhere {others_failed} of {others}"
            )
    return found
