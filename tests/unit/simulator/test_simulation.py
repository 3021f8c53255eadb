"""The simulator's world: what happens to jobs and pilots in virtual time."""

import gc
from dataclasses import replace

import pytest
from workloads import FOUR_CORES, LARGE, ONE_CORE, POLICY, SMALL, bag, quiet_site, workload

from snakemake_executor_plugin_osgpilot.errors import RejectedError
from snakemake_executor_plugin_osgpilot.model.plan import Launch, Plan
from snakemake_executor_plugin_osgpilot.model.resources import JobClass, Shape
from snakemake_executor_plugin_osgpilot.pilots.manager import PilotManager
from snakemake_executor_plugin_osgpilot.pilots.state.circuit_breaker import FAILURES_MAX
from snakemake_executor_plugin_osgpilot.scaling.autoscaler import Autoscaler
from snakemake_executor_plugin_osgpilot.scaling.planner.planner import plan
from snakemake_executor_plugin_osgpilot.simulator.model import (
    CSR,
    Faults,
    Outage,
    Spread,
    Step,
    Waits,
)
from snakemake_executor_plugin_osgpilot.simulator.world import World, run


def policy_of(*offers, **changes):
    return replace(POLICY, offers=offers, **changes)


def one_pilot(offer=SMALL, walltime_s=3600):
    """Return a planner that starts one pilot and then does nothing."""

    def planner(snapshot, estimates, policy):
        return Plan() if snapshot.pilots else Plan((Launch(offer.name, walltime_s, "test"),))

    return planner


def short_then_long(snapshot, estimates, policy):
    """Start a pilot of one hour, and one of four hours when it is over."""
    if any(not pilot.state.over for pilot in snapshot.pilots):
        return Plan()
    return Plan((Launch(SMALL.name, 14_400 if snapshot.pilots else 3600, "test"),))


CLAIMS_NOTHING = Step("one", Shape(1, 1024))


class Witness:
    """A planner that keeps what it was shown."""

    def __init__(self, planner=plan):
        self.planner = planner
        self.seen = []

    def __call__(self, snapshot, estimates, policy):
        self.seen.append((snapshot, estimates))
        return self.planner(snapshot, estimates, policy)


class Traced(World):
    """A world that keeps when jobs ended."""

    def __init__(self, *given):
        super().__init__(*given)
        self.ends_s = {}

    def job_ended(self, job, number, runtime_ms):
        self.ends_s[job] = self.clock.now / 1000
        super().job_ended(job, number, runtime_ms)


def test_a_bag_of_equal_jobs_takes_what_it_has_to_on_one_pilot():
    """Queue 5 s, boot 120 s, next round of matchmaking at 180 s, then two rounds of four jobs."""
    told = run(bag(8), quiet_site(start_s=2, next_s=1), one_pilot(), POLICY, 1)

    assert told.first_job_s == 182
    assert told.makespan_s == 182 + 300 + 1 + 300
    assert told.charged.useful == 8 * 300_000
    assert told.charged.boot == 4 * 120_000
    assert told.charged.rework == told.charged.failed == 0
    assert (told.launched, told.never_used, told.failed_starts) == (1, 0, 0)


STAGES = workload(
    [ONE_CORE, FOUR_CORES], [(0, 300, ())] * 40 + [(1, 600, tuple(range(40)))] + [(0, 900, ())]
)


def outcome_of_stages():
    outage = Faults(outages=(Outage(0, 1200),))
    return run(STAGES, quiet_site(faults=outage), plan, replace(POLICY, cost_weight=0.2), 1)


def refuse(manager, allocation):
    raise RejectedError("invalid account")


@pytest.mark.parametrize(
    ("owner", "method", "fault", "shows"),
    [
        (PilotManager, "_submit", refuse, lambda told, _: "invalid account" in told.stopped),
        (PilotManager, "_drain", lambda *_: None,
         lambda told, sound: told.charged.idle > sound.charged.idle),
        (PilotManager, "_end_gracefully", lambda *_: None,
         lambda told, _: any(pilot.state == "cancelled" for pilot in told.pilots)),
        (Autoscaler, "_gates", lambda *_: {},
         lambda told, sound: told.failed_starts > sound.failed_starts),
    ],
)  # fmt: skip
def test_a_fault_of_the_product_shows_in_the_simulation(monkeypatch, owner, method, fault, shows):
    """The simulator has no copy of what decides about pilots and handles them."""
    sound = outcome_of_stages()
    monkeypatch.setattr(owner, method, fault)
    told = outcome_of_stages()

    assert not shows(sound, sound)
    assert shows(told, sound)


def test_followers_start_when_what_they_need_has_ended():
    chain = workload([ONE_CORE], [(0, 100, ()), (0, 100, (0,)), (0, 100, (0, 1))])
    world = Traced(chain, quiet_site(), one_pilot(), POLICY, 1)

    told = world.run()

    assert told.jobs_left == 0
    assert world.ends_s[0] + 100 < world.ends_s[1]
    assert world.ends_s[1] + 100 < world.ends_s[2]


def test_jobs_that_arrive_late_are_not_known_before():
    late = workload([ONE_CORE], [(0, 60, ()), (0, 60, ()), (0, 60, (1,))], [0, 2000, 2000])
    witness = Witness()

    told = run(late, quiet_site(), witness, POLICY, 1)

    def known(snapshot):
        running = sum(g.jobs for groups in snapshot.running.values() for g in groups)
        coming = sum(soon.jobs for soon in snapshot.soon) + snapshot.later
        return sum(snapshot.waiting.values()) + running + coming

    assert told.jobs_left == 0
    assert max(known(s) for s, _ in witness.seen if s.now_s < 2000) == 1
    assert max(known(s) for s, _ in witness.seen if s.now_s >= 2000) == 2


def test_a_planner_knows_what_comes_next():
    jobs = [(0, 600, ()), (0, 600, ()), (1, 60, (0,)), (1, 60, (0, 1)), (0, 60, (2, 3))]
    witness = Witness()
    four = replace(FOUR_CORES, hint_s=0)

    run(workload([ONE_CORE, four], jobs), quiet_site(), witness, POLICY, 1)

    first = witness.seen[0][0]
    class_of_four = JobClass(four.shape)
    assert first.waiting == {JobClass(ONE_CORE.shape, 600): 2}
    assert [(s.job_class, s.jobs, s.ready_s) for s in first.soon] == [(class_of_four, 2, None)]
    assert first.later == 1
    both_run = next(s for s, _ in witness.seen if s.running)
    assert {(s.jobs, s.ready_s is None) for s in both_run.soon} == {(1, False), (1, True)}


def test_followers_are_in_sight_until_they_wait():
    """Else, in the moment between two stages, nothing would be left to keep pilots for."""
    stages = [(0, 100, ())] * 4 + [(0, 100, (0, 1, 2, 3)), (0, 100, (4,))]
    witness = Witness()

    run(workload([ONE_CORE], stages), quiet_site(hand_over_s=30), witness, POLICY, 1)

    def open_jobs(snapshot):
        running = sum(g.jobs for groups in snapshot.running.values() for g in groups)
        soon = sum(soon.jobs for soon in snapshot.soon)
        return sum(snapshot.waiting.values()) + running + soon + snapshot.later

    assert min(open_jobs(snapshot) for snapshot, _ in witness.seen) == 1
    assert any(s.soon and not s.running and not s.waiting for s, _ in witness.seen)


def test_a_job_starts_only_on_a_pilot_that_lives_long_enough():
    """The pilot has 3600 s, of which its end takes 240 s: after 1900 s, 1600 s are too few."""
    late = workload([Step("one", Shape(1, 1024), 1600)], [(0, 60, ())] * 2, [0, 1900])

    told = run(late, quiet_site(idle_s=9999), one_pilot(), POLICY, 1)

    assert told.jobs_left == 1
    assert "no pilot was started any more" in told.stopped


def test_a_job_without_a_claim_is_cut_short_at_the_end_of_its_pilot_and_runs_again():
    told = run(bag(1, 4000, CLAIMS_NOTHING), quiet_site(), short_then_long, POLICY, 1)

    assert told.jobs_left == 0
    assert told.charged.rework == (5 + 3600 - 240 - 182) * 1000
    assert told.charged.useful == 4_000_000


def test_a_job_that_is_cut_short_ten_times_has_failed():
    one_hour = policy_of(replace(SMALL, walltimes_s=(3600,)))
    told = run(bag(1, 3600, CLAIMS_NOTHING), quiet_site(), plan, one_hour, 1)

    assert told.jobs_left == 1
    assert told.stopped == "a job was started 10 times without success"


def test_an_idle_pilot_ends_by_itself():
    told = run(bag(1, 60), quiet_site(idle_s=300), one_pilot(), POLICY, 1)
    late = run(
        workload([ONE_CORE], [(0, 60, ())] * 2, [0, 1500]),
        quiet_site(idle_s=300),
        one_pilot(),
        POLICY,
        1,
    )

    assert told.pilots[0].ended_s == told.makespan_s + 5
    assert late.pilots[0].ended_s == told.makespan_s + 300


def test_slots_are_for_jobs_of_one_class_until_they_are_given_back():
    """Four jobs of one core fill the pilot; one of four cores has to wait for the last of them."""
    jobs = [(0, 100, ())] * 3 + [(0, 400, ()), (1, 50, ())]
    mixed = workload([ONE_CORE, FOUR_CORES], jobs, [0.0] * 4 + [230.0])
    world = Traced(mixed, quiet_site(), one_pilot(), POLICY, 1)

    world.run()

    assert world.ends_s[4] > world.ends_s[3] + 50


def test_stragglers_are_quick_when_they_run_again():
    always = Faults(stragglers=1.0, straggler_factor=3)
    told = run(bag(1, 300), quiet_site(faults=always), one_pilot(), POLICY, 1)
    site = quiet_site(faults=always)
    cut = run(bag(1, 1500, CLAIMS_NOTHING), site, short_then_long, POLICY, 1)

    assert told.charged.useful == 900_000
    assert cut.charged.rework > 0
    assert cut.charged.useful == 1_500_000


def test_preempted_pilots_cost_work_and_the_jobs_run_again():
    often = Faults(preemptions_per_h=1.0)
    told = run(bag(800), quiet_site(faults=often), plan, POLICY, 1)

    assert told.jobs_left == 0
    assert told.charged.rework > 0
    assert "cancelled" in {pilot.state for pilot in told.pilots}


def test_jobs_of_a_node_that_goes_down_run_again_when_slurm_has_reported_it():
    """Until then nothing says that they do not run: a look, and 20 s for HTCondor's log."""
    downs = Faults(node_failures_per_h=8.0)
    told = run(bag(200), quiet_site(faults=downs), plan, POLICY, 1)

    assert told.jobs_left == 0
    assert told.charged.rework > 0
    assert "failed" in {pilot.state for pilot in told.pilots}


def test_a_site_outage_costs_four_failed_starts_and_some_tries():
    out = Faults(outages=(Outage(0, 1800),))
    told = run(bag(20), quiet_site(faults=out), plan, policy_of(SMALL, pilots_max=4), 1)

    assert told.jobs_left == 0
    assert FAILURES_MAX < told.failed_starts <= FAILURES_MAX + 7
    assert told.charged.failed > 0


def test_bad_nodes_are_left_out():
    site = quiet_site(faults=Faults(bad_nodes=1), nodes=4)
    told = run(bag(100, 500), site, plan, policy_of(LARGE, pilots_max=3), 1)

    assert told.jobs_left == 0
    assert told.failed_starts == 2


def test_bad_nodes_that_come_free_first_again_and_again_cost_few_starts():
    """Failures on two nodes alone do not clear them, even where they open the breaker."""
    site = quiet_site(faults=Faults(bad_nodes=2))
    told = run(bag(300, 500), site, plan, policy_of(SMALL, pilots_max=20, pending_max=20), 1)

    assert told.jobs_left == 0
    assert told.failed_starts <= 2 * FAILURES_MAX


def test_pilots_of_all_kinds_together_cost_a_site_outage_no_more_than_those_of_one():
    """Many wait in the queue when the first fails; those that start then leave at once."""
    out = Faults(outages=(Outage(0, 3600),), fails_after_s=30.0)
    site = quiet_site(faults=out, waits=Waits(900.0))
    told = run(bag(400), site, plan, replace(POLICY, pilots_max=60, pending_max=60), 2)

    assert told.jobs_left == 0
    assert told.failed_starts <= 4 * FAILURES_MAX


def test_an_outage_of_hours_is_waited_for():
    out = Faults(outages=(Outage(0, 4 * 3600),))
    told = run(bag(20), quiet_site(faults=out), plan, policy_of(SMALL, pilots_max=4), 1)

    assert told.jobs_left == 0


def test_a_site_that_never_works_is_given_up():
    never = Faults(outages=(Outage(0, 10**9),))
    told = run(bag(10), quiet_site(faults=never), plan, POLICY, 1)

    assert told.jobs_left == 10
    assert "no pilot can be started" in told.stopped


def test_a_job_that_fits_nowhere_ends_the_run():
    told = run(bag(1, step=Step("huge", Shape(64, 1024))), quiet_site(), plan, POLICY, 1)

    assert told.jobs_left == 1
    assert "lacks" in told.stopped


def test_an_exhausted_budget_ends_the_run():
    poor = replace(POLICY, core_s_max=4 * 3600 + 1)
    told = run(bag(400, 600), quiet_site(), plan, poor, 1)

    assert told.jobs_left > 0
    assert "budget" in told.stopped
    assert told.charged_core_s <= poor.core_s_max


def test_pilots_that_never_had_a_job_are_counted():
    def two(snapshot, estimates, policy):
        launch = Launch(SMALL.name, 3600, "test")
        return Plan() if snapshot.pilots else Plan((launch, launch))

    told = run(bag(1, 300), quiet_site(), two, POLICY, 1)

    assert (told.launched, told.never_used) == (2, 1)


def test_waits_grow_with_cores_and_walltime():
    waits = Waits(900, sigma=0.0, cores=16, walltime_s=3600, cores_power=1, walltime_power=1)
    site = quiet_site(waits=waits)

    told = [
        run(bag(1), site, one_pilot(offer, walltime_s), POLICY, 1).pilots[0]
        for offer, walltime_s in ((LARGE, 3600), (SMALL, 3600), (SMALL, 14_400))
    ]

    assert [pilot.started_s for pilot in told] == [900, 225, 900]


def test_another_planner_meets_the_same_luck():
    """Waits and boots belong to the number of a pilot, whatever was done before."""
    site = quiet_site(waits=Waits(900), boot=Spread(180, 0.5))

    def boot_s(planner):
        first = run(bag(4), site, planner, POLICY, 7).pilots[0]
        return first.ready_s - first.started_s

    assert boot_s(one_pilot(SMALL)) == boot_s(one_pilot(LARGE)) == boot_s(plan)


def test_slurms_own_expectation_is_asked_for_once_before_the_first_pilot():
    witness = Witness()
    run(bag(4), quiet_site(waits=Waits(900, 0.0, cores=4)), witness, POLICY, 1)

    assert witness.seen[0][1].wait_hints_s.keys() == {SMALL.name, LARGE.name}
    witness = Witness()
    run(bag(4), quiet_site(hints=False), witness, POLICY, 1)
    assert witness.seen[0][1].wait_hints_s == {}


def test_worlds_that_differ_in_what_has_not_ended_yet_show_the_same():
    """No oracle: jobs 7 and 30 take longer in one of the worlds, and nobody can tell before."""
    jobs = [(0, 100.0 + 7 * n, ()) for n in range(40)]
    jobs += [(1, 90.0 + n, (n,)) for n in range(20)]
    slow = [(s, r * (3 if n in (7, 30) else 1), p) for n, (s, r, p) in enumerate(jobs)]
    steps = [ONE_CORE, replace(FOUR_CORES, hint_s=0)]
    told, worlds = [], []
    for each in (jobs, slow):
        witness = Witness()
        world = Traced(workload(steps, each), quiet_site(), witness, POLICY, 3)
        world.run()
        told.append(witness.seen)
        worlds.append(world)
    differs_s = min(worlds[0].ends_s[n] for n in (7, 30))

    before = [[pair for pair in seen if pair[0].now_s <= differs_s] for seen in told]

    assert before[0] == before[1]
    assert any(snapshot.running for snapshot, _ in before[0])
    assert told[0] != told[1]


def test_nothing_that_a_planner_can_reach_knows_a_runtime_that_is_yet_to_be_seen():
    """Walks all that hangs on snapshot and estimates, through every kind of object."""
    runtimes_s = [(300_013 + 125 * n) / 1000 for n in range(30)]
    jobs = [(0, runtime_s, ()) for runtime_s in runtimes_s]
    jobs += [(0, 200.0625, (n,)) for n in range(10)]
    seen_s = set()

    class Watcher(Witness):
        def __call__(self, snapshot, estimates, policy):
            reached = _reachable((snapshot, estimates))
            seen_s.update(value for value in reached if isinstance(value, float))
            strange = {type(value).__name__ for value in reached} - ALLOWED
            assert not strange
            secret = [r for job, (_, r, _) in enumerate(jobs) if job not in world.ends_s]
            numbers = {value for value in reached if isinstance(value, (int, float))}
            assert not {*secret, *(1000 * runtime_s for runtime_s in secret)} & numbers
            return super().__call__(snapshot, estimates, policy)

    world = Traced(workload([ONE_CORE], jobs), quiet_site(), Watcher(), POLICY, 1)
    world.run()

    assert {*runtimes_s[:20]} <= seen_s, "they are visible when jobs have ended"


ALLOWED = {
    "Commitment",
    "Estimates", "Gate", "JobClass", "NoneType", "Pilot", "PilotState", "Running", "Shape",
    "Snapshot", "UpcomingGroup", "bool", "dict", "float", "frozenset", "int", "str", "tuple",
}  # fmt: skip


def _reachable(*roots):
    found, todo = {}, list(roots)
    while todo:
        each = todo.pop()
        if id(each) in found or isinstance(each, type):
            continue
        found[id(each)] = each
        todo += gc.get_referents(each) if type(each).__name__ != "PilotState" else ()
    return list(found.values())


def test_the_series_is_bounded_and_shows_demand_and_supply():
    told = run(bag(300, 900), quiet_site(), plan, POLICY, 1)

    assert max(moment.waiting for moment in told.series) == 300
    assert max(moment.running for moment in told.series) <= max(m.ready for m in told.series)
    assert len(told.series) < 2000
    assert [moment.at_s for moment in told.series] == sorted(m.at_s for m in told.series)


def test_children_by_parent_are_made_from_parents_by_child():
    parents = CSR.of([[], [0], [0, 1], [1]])

    children = parents.transposed()

    assert [list(children[job]) for job in range(4)] == [[1, 2], [2, 3], [], []]


def test_arrays_of_a_workload_have_to_be_of_one_length():
    good = bag(3)
    with pytest.raises(ValueError, match="not all of 3 jobs"):
        replace(good, parents=CSR.empty(2))
