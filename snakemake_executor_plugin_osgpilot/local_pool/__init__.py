"""The local pool: Slurm, HTCondor and Apptainer on one machine, in namespaces of their own.

Tests and other programs start commands in it by `session.exec_argv`.
"""
