"""HTCondor's hold codes: the meaning of each, and what users can do about it.

HTCondor manual, Job ClassAd Attributes, HoldReasonCode. `hold_policy` decides what osgpilot does.
"""

from __future__ import annotations

from typing import NamedTuple


class Meaning(NamedTuple):
    """A reason in plain words, and what to do about it (empty: wait)."""

    words: str
    step: str = ""


HOLDS: dict[int, Meaning] = {
    1: Meaning("it was put on hold by hand (condor_hold)", "run: condor_release {job}"),
    3: Meaning("a policy of the job stopped it", "look at the policy in its htcondor_… resources"),
    6: Meaning(
        "its command could not be started; does the container image have /bin/bash, and is it "
        "built for this kind of machine?",
        "see that the image is there and starts: apptainer exec IMAGE true",
    ),
    7: Meaning(
        "the access point could not write its output; is its disk full?",
        "make room on the access point",
    ),
    11: Meaning("its files could not be moved, it is not known which way"),
    12: Meaning("its outputs could not be brought back", "see that the access point has room"),
    13: Meaning("its inputs could not be sent", "see that the inputs are there and can be read"),
    14: Meaning(
        "its folder on the access point is gone or cannot be entered",
        "see that the working folder is there",
    ),
    15: Meaning("it was submitted on hold", "run: condor_release {job}"),
    16: Meaning("its inputs are on their way to the access point"),
    18: Meaning("its inputs were larger than allowed, or could not be read"),
    19: Meaning("a check of the pilot before the job failed"),
    21: Meaning("a policy of the pilot stopped it"),
    22: Meaning(
        "the access point could not write the run's event log; is its disk full?",
        "make room on the access point",
    ),
    26: Meaning(
        "a policy of the access point's administrators stopped it",
        "read why; the administrators of the access point know more",
    ),
    32: Meaning(
        "its inputs are larger than the access point allows",
        "make inputs smaller, or have them fetched by URL",
    ),
    33: Meaning(
        "its outputs are larger than the access point allows",
        "make outputs smaller, or keep some as temporary",
    ),
    34: Meaning("it took more of a resource than it had asked for"),
    35: Meaning("its container image is not valid", "correct container_image"),
    45: Meaning(
        "Apptainer could not start its container image on the node",
        "see that the image starts there: apptainer exec IMAGE true",
    ),
    46: Meaning(
        "it took longer than the access point allows", "split the rule's work into shorter jobs"
    ),
    47: Meaning(
        "it ran longer than the access point allows", "split the rule's work into shorter jobs"
    ),
}

UNKNOWN_HOLD = Meaning("HTCondor put it on hold")
