"""What Snakemake sees.

dispatcher         the executor plugin: each job goes where its rule was routed
ospool             jobs that run on pilots
fallback, local    jobs that run as plain Slurm jobs or on this machine
dag_lookahead      what the DAG still has to offer
dag_dependencies   which jobs a job waited for, for reports
"""
