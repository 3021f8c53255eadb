"""`--apptainer-args` is honoured or refused, never dropped."""

import pytest

from snakemake_executor_plugin_osgpilot.errors import InputError
from snakemake_executor_plugin_osgpilot.staging.apptainer_args import environment_of


@pytest.mark.parametrize(
    ("args", "variables"),
    [
        ("", {}),
        ("--nv -e --cleanenv --no-home", {}),
        ("--env A=b", {"A": "b"}),
        ("--env=A=b,C='d e' --env A=f", {"A": "f", "C": "d e"}),
        ("--env A=b=c", {"A": "b=c"}),
        ("--bind /data/genomes -B /data:/data:ro", {}),
    ],
)
def test_variables_are_passed_on(args, variables):
    assert environment_of(args, ("/data",)) == variables


@pytest.mark.parametrize(
    ("args", "named"),
    [
        ("--env A=b --bind /x:/y", "--bind /x:/y"),
        ("--bind /data:/elsewhere", "--bind /data:/elsewhere"),
        ("-B /data,/home", "--bind /home"),
        ("--fakeroot", "--fakeroot"),
        ("--writable-tmpfs --nv", "--writable-tmpfs"),
        ("--env", "--env needs a value"),
        ("--env A", "--env A is not of the form"),
        ("--env A-B=c", "--env A-B is not of the form"),
        ("--env 'A=b", "No closing quotation"),
        ("image.sif", "image.sif"),
    ],
)
def test_what_pilots_cannot_have_is_refused(args, named):
    with pytest.raises(InputError, match="apptainer-args") as refused:
        environment_of(args, ("/data",))
    assert named in str(refused.value)
    assert "\n" not in str(refused.value)
