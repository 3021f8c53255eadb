"""Laws of plans over several sites."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st
from test_plan_properties import OFFERS, estimates, of_snapshots, policies, snapshots

from snakemake_executor_plugin_osgpilot.model.plan import Launch
from snakemake_executor_plugin_osgpilot.model.resources import SiteLimits
from snakemake_executor_plugin_osgpilot.scaling.planner.limits import committed
from snakemake_executor_plugin_osgpilot.scaling.planner.planner import plan

SITES = ("A", "B")
site_limits = st.builds(
    SiteLimits,
    st.sampled_from(SITES),
    st.one_of(st.none(), st.integers(1, 10)),
    st.one_of(st.none(), st.integers(1, 100)),
    st.one_of(st.none(), st.floats(1, 1e6)),
)
limit_lists = st.lists(site_limits, max_size=2, unique_by=lambda limits: limits.site).map(tuple)


def at_sites(snapshot, policy):
    """Return the two with each pilot type at both sites, and pilots at either."""
    offers = tuple(
        replace(offer, name=f"{site}:{offer.name}" if site != "A" else offer.name, site=site)
        for site in SITES
        for offer in OFFERS
    )
    pilots = tuple(
        replace(pilot, site=SITES[number % 2], offer=("", "B:")[number % 2] + pilot.offer)
        for number, pilot in enumerate(snapshot.pilots)
    )
    return replace(snapshot, pilots=pilots), replace(policy, offers=offers)


@given(snapshots(), estimates, policies, limit_lists)
def test_launches_never_exceed_a_limit_of_a_site_or_of_all(snapshot, known, policy, own):
    snapshot, policy = at_sites(snapshot, policy)
    policy = replace(policy, site_limits=own)
    before = committed(snapshot, replace(plan(snapshot, known, policy), actions=()), policy)
    decided = plan(snapshot, known, policy)
    after = committed(snapshot, decided, policy)
    assert after.pilots <= max(before.pilots, policy.pilots_max)
    if policy.cores_max is not None:
        assert after.cores <= max(before.cores, policy.cores_max)
    if policy.core_s_max is not None:
        assert after.core_s <= max(before.core_s, policy.core_s_max) + 1e-6
    for limits in own:
        here, there = before.at(limits.site), after.at(limits.site)
        assert limits.pilots_max is None or there.pilots <= max(here.pilots, limits.pilots_max)
        assert limits.cores_max is None or there.cores <= max(here.cores, limits.cores_max)
        most_s = limits.core_s_max
        assert most_s is None or there.core_s <= max(here.core_s, most_s) + 1e-6
    for site in SITES:
        here, there = before.at(site), after.at(site)
        assert there.pending <= max(here.pending, policy.pending_max)


@of_snapshots
def test_the_name_of_a_single_site_changes_nothing(snapshot, known, policy):
    named = replace(snapshot, pilots=tuple(replace(p, site="A") for p in snapshot.pilots))
    offers = tuple(replace(offer, site="A") for offer in policy.offers)
    assert plan(named, known, replace(policy, offers=offers)) == plan(snapshot, known, policy)


@of_snapshots
def test_no_pilot_of_a_silent_site_is_ended(snapshot, known, policy):
    snapshot, policy = at_sites(snapshot, policy)
    there = {pilot.name for pilot in snapshot.pilots if pilot.site == "B"}
    away = replace(snapshot, silent=frozenset("B"), unconfirmed=frozenset(there))
    decided = plan(away, known, policy)
    ended = {action.pilot for action in decided.actions if not isinstance(action, Launch)}
    assert not ended & there
