"""Counts the requests of a workflow to the access point and to Slurm, one byte each in a file.

Python imports this module at its start if its folder is in PYTHONPATH. Requests are counted in the
working folder of the process.
"""

from pathlib import Path

from snakemake_executor_plugin_osgpilot.htcondor.worker_client import Worker
from snakemake_executor_plugin_osgpilot.slurm.host import Host


def _counted(method, name):
    def counting(*given, **named):
        with Path(name).open("ab") as file:
            file.write(b".")
        return method(*given, **named)

    return counting


Worker.ask = _counted(Worker.ask, "asked-access-point")
Host.run = _counted(Host.run, "asked-slurm")
