"""The executor that Snakemake sees.

plugin             the class that Snakemake looks for
dispatcher         the executor: sends each job where its rule was routed
ospool             jobs that run on pilots: handed over, checked, committed
drafts             what is submitted for a job of Snakemake's
assembly           the run and the preparer, from the workflow and its settings
fallback, local    jobs that run as plain Slurm jobs or on this machine
job_listeners      the steps of a rule job, reported to all that follow it
dag_lookahead      jobs that the DAG still has to offer
dag_dependencies   dependencies of jobs, for reports
snakemake_steps    Snakemake's own count of jobs, and how it was started
conda_builds       jobs that make conda environments in pilots
in_flight          jobs that are handed over again while they run
job_reports        messages about failed jobs
"""
