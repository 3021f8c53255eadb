"""One run of a workflow: put together, kept going, resumed, ended.

assembly     builds all parts of a run from settings and site file
controller   its two loops: jobs and pilots
lease        the sign of life that pilots and other hosts look at
resume       takes up an interrupted run
intake       gives jobs their keys and hands them to the queue
shutdown     ends a run; leaves nothing behind
cleanup, leftovers, run_status   find and remove what dead runs left
endpoints    where a run's Slurm and access point are
"""
