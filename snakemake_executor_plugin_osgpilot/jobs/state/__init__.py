"""The tracked jobs of a run, and the decisions about them. Pure: no I/O, no clock.

job, events          one job, and how an event of the log changes it
tracker              the way to all of it: events in, changes due and views out
table                all jobs with sums over them
rule_sums            sums over the jobs of one rule
job_ids              the ids of jobs: HTCondor's, with a number in a bundle
departures           jobs that the access point has yet to remove
submission           which jobs are submitted next, and how many
unsent               the unsent jobs of one kind, in order
bundling             how many of them go in one bundle, and how many wait
bundles              the members of a bundle, and what its events mean to them
priorities           which jobs start first
hold_codes           what HTCondor's hold codes mean
hold_policy          held jobs: release, request more, or fail
release_schedule     when held jobs are released
lost_pilots          jobs whose pilot is gone
start_failures       suspends starts while too many fail
job_starts           which jobs may start meanwhile
shared_transfers     which image or input a transfer was
pilot_failures       pilots on which starts fail
black_holes          pilots on which jobs fail that succeed elsewhere
avoidance            places that the next attempt of a job avoids
stuck_jobs           idle jobs that the schedd no longer offers
recovery, restore    the jobs of a previous session: adopt, replace or submit
view                 the input of scaling
"""
