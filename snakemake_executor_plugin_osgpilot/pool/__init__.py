"""The local pool: Slurm, HTCondor and Apptainer on one machine, in namespaces of their own."""

from snakemake_executor_plugin_osgpilot.pool.session import exec_argv

__all__ = ["exec_argv"]
