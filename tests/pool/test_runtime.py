"""The image with Snakemake: a rule that needs Python runs in it, without network or checkout."""

from .conftest import Pool

IMAGE = ["apptainer", "-q", "exec", "-C", "/opt/sif/runtime.sif"]
WORKFLOW = """\
rule r:
    output: "r.txt"
    benchmark: "r.bench"
    run:
        shell("awk 'BEGIN {{print 1 + 1}}' > {output}")
"""
REMOTE = """\
cd "$(mktemp -d)"
cat > Snakefile
python -m snakemake --mode remote --target-jobs r: --allowed-rules r --cores 1 --force --nolock \\
  --shared-fs-usage none --scheduler ilp >&2
test -s r.bench
cat r.txt
"""


def packages(pool: Pool, *python: str) -> set[str]:
    listing = (
        "import importlib.metadata as m\n"
        "for d in m.distributions(): print(d.name.lower(), d.version)"
    )
    return set(pool.say(*python, "-c", listing).splitlines())


def test_it_has_the_same_packages_as_the_pools_python(pool: Pool):
    image, venv = packages(pool, *IMAGE, "python"), packages(pool, "/opt/venv/bin/python")
    assert image <= venv
    assert any(line.startswith("snakemake ") for line in image)
    assert not any(line.startswith(("pip ", "pytest ", "htcondor ")) for line in image)


def test_a_rule_that_needs_python_runs_in_it(pool: Pool):
    done = pool.run(*IMAGE, "bash", "-ec", REMOTE, stdin=WORKFLOW)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "2\n"
    assert "ILP solver" not in done.stderr
