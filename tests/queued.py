"""Jobs as the tests of the queue have them."""

from snakemake_executor_plugin_osgpilot.jobs.state.job import Job
from snakemake_executor_plugin_osgpilot.model.resources import JobClass, Request, Shape

NOW_S = 3000.0
SMALL, BIG = JobClass(Shape(1, 500)), JobClass(Shape(4, 3000))


def job(key, job_class=SMALL, image=""):
    return Job(key, "map", Request(job_class, image))
