"""The order of jobs at the access point, as runtimes are learned."""

from dataclasses import replace

from queued import NOW_S, job

from snakemake_executor_plugin_osgpilot.errors import RejectedError
from snakemake_executor_plugin_osgpilot.jobs.manager import JobManager
from snakemake_executor_plugin_osgpilot.jobs.state.events import EventKind
from snakemake_executor_plugin_osgpilot.model.job_order import Outlook
from snakemake_executor_plugin_osgpilot.model.resources import Shape
from snakemake_executor_plugin_osgpilot.model.runtime_by_size import RuntimesBySize, Sample

EARLIER = {"map": [Sample(10**6 * n, 10.0 * n) for n in range(1, 30)]}


def sized(key, megabytes, **more):
    return replace(job(key), outlook=Outlook(600.0, 0.0, 10**6 * megabytes, **more))


def in_queue(ap):
    """Return the keys in the queue, those with the highest priority first."""
    known = {key: value for s in ap.submissions for key, value in s.priorities.items()}
    by_id = {job_id: key for key, job_id in ap.queued.items()}
    for value, ids in ap.prioritized:
        known |= {by_id[job_id]: value for job_id in ids}
    return sorted(known, key=lambda key: (-known[key], key))


def end(queue, ap, key, runtime_s):
    ap.tell(key, EventKind.EXECUTE, NOW_S, pilot="p1")
    ap.tell(key, EventKind.TERMINATED, NOW_S + runtime_s, exit_status=0)
    queue.follow()


def test_jobs_are_submitted_in_the_order_that_earlier_runs_show(ap):
    queue = JobManager(ap, Shape(4, 3800), runtimes=RuntimesBySize(EARLIER))
    queue.add([sized("1", 5), sized("2", 50), sized("3", 1), sized("4", 20, rule_priority=-1)])
    queue.send()
    assert in_queue(ap) == ["2", "1", "3", "4"]


def test_of_jobs_that_may_be_bundled_the_longest_are_submitted_first(ap):
    queue = JobManager(ap, Shape(1, 3800), runtimes=RuntimesBySize(EARLIER))
    queue.add(replace(sized(str(n), 10 * n), bundle_s=60.0) for n in range(1, 6))
    queue.send()
    assert list(ap.queued) == ["5"]


def test_jobs_after_which_most_is_to_do_come_first(queue, ap):
    chains = {"1": 0.0, "2": 7200.0, "3": 1800.0}
    queue.add(
        [replace(job(key), outlook=Outlook(600.0, after_s)) for key, after_s in chains.items()]
    )
    queue.send()
    assert in_queue(ap) == ["2", "3", "1"]


def test_without_evidence_all_have_one_priority(queue, ap):
    queue.add([sized(str(n), n) for n in range(5)])
    queue.send()
    assert len(set(ap.submissions[0].priorities.values())) == 1


def test_waiting_jobs_are_reordered_once_runtimes_depend_on_sizes(queue, ap):
    waiting = [sized("w1", 1), sized("w2", 30), sized("w3", 900)]
    queue.add([sized(f"e{n:02}", n + 1) for n in range(20)] + waiting)
    queue.send()
    for n in range(20):
        end(queue, ap, f"e{n:02}", 10.0 * (n + 1))
    queue.repair(NOW_S)
    assert [key for key in in_queue(ap) if key[0] == "w"] == ["w3", "w2", "w1"]
    asked = len(ap.prioritized)
    for _ in range(3):
        queue.repair(NOW_S)
    assert len(ap.prioritized) == asked


def test_an_order_that_is_refused_is_not_asked_for_again(queue, ap):
    queue.add([sized(f"e{n:02}", n + 1) for n in range(20)] + [sized("l", 900)])
    queue.send()
    for n in range(20):
        end(queue, ap, f"e{n:02}", 10.0 * (n + 1))
    ap.fails = RejectedError("no")
    for _ in range(3):
        queue.repair(NOW_S)
    assert ap.prioritized == []


def test_a_job_whose_rule_sets_the_priority_of_htcondor_keeps_it(queue, ap):
    own = sized("own", 900)
    own = replace(own, request=replace(own.request, extras=(("priority", "5"),)))
    queue.add([own, sized("l", 900), *(sized(f"e{n:02}", n + 1) for n in range(20))])
    queue.send()
    for n in range(20):
        end(queue, ap, f"e{n:02}", 10.0 * (n + 1))
    queue.repair(NOW_S)
    moved = {job_id for _, ids in ap.prioritized for job_id in ids}
    assert ap.queued["l"] in moved
    assert ap.queued["own"] not in moved
