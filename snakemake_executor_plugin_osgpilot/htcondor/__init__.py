"""The HTCondor adapter. Calls over the network run in a worker process of their own.

factory                            choose the access point
schedd_queue                       requests to any schedd's queue
local_schedd, event_log            a schedd of this machine, followed by its event log
remote_schedd, polling, job_ad     a schedd on another host, followed by polling job ads
submit_description                 jobs in HTCondor's submit language
raw_submit_commands                submit commands and attributes that a rule adds
bundle_folder                      a bundle's folder, and bundle.sh, which runs its jobs
neutral_path                       paths of a run's folder that HTCondor reads unchanged
worker_client, worker_lock         our end of the worker process, and its lock
worker, remote_operations          the worker process
error_messages, credentials        explain failures and tokens
"""
