"""What is known of the jobs of a run, and the decisions about them. Pure: no I/O, no clock.

job, events          one job, and how an event of the log changes it
table, tracker       all jobs with sums over them; every change goes through the tracker
submission           which jobs are sent next, and how many
hold_policy          held jobs: release, ask for more, or give up
release_schedule     when held jobs are released
lost_pilots          jobs whose pilot is gone
start_failures       limits starts while they keep failing
pilot_failures       pilots on which starts fail
black_holes          pilots on which jobs fail that succeed elsewhere
avoidance            places that a job's next attempt keeps off
stuck_jobs           idle jobs that the schedd no longer offers
recovery, restore    what a previous session left, and how it is taken up
view                 what scaling sees
"""
