"""One run of a workflow: assemble, control, resume, shut down, clean up.

assembly     builds all parts of a run from settings and site file
controller   its two loops: jobs and pilots
lease        renews the lease that pilots and other hosts check
resume       resumes an interrupted run
intake       assigns keys to jobs and passes them to the queue
shutdown     ends a run and removes what it created
unwritten    writes the folders of jobs, and clears them before the next attempt
site_access  connects to the sites of a run, which may answer late
cancel       ends a live run from another process
ports        interfaces of lease, history and display
cleanup, leftovers   find and remove what dead runs left behind
endpoints    connects to the Slurm and the access point of a run
"""
