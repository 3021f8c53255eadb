"""The Slurm adapter.

client           implements the batch system with Slurm's commands
commands, parse  argument lists and parsers of their output (pure)
error_messages   Slurm's error messages as exceptions (pure)
host             runs commands on the host of Slurm's commands, here or over ssh
remote_script    a command and its files as one shell script (pure)
cluster          checks and files of a run on the cluster
inventory        partitions, nodes and accounts of the cluster
"""
