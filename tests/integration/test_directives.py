"""Directives and groups, without a Snakemake where jobs run, compared with the local executor."""

import csv
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from beside_local import IN_IMAGE, files, prepare, run_locally
from conftest import Workflow

RUNTIME = "/opt/sif/runtime.sif"

VALUES = """
import tempfile

rule all:
    input: "a", "x.l", "y.l", "many", "sized", "counted", "placed",
        "placed_script", "placed_body", "called", "expressed"

rule a:
    output: txt="a"
    params: word="it's"
    shell: f"echo {output.txt} {params.word!r} {{threads}} > {output}"

for n in ["x", "y"]:
    rule:
        name: f"loop_{n}"
        output: f"{n}.l"
        shell: f"echo {n} {{n}} > {output} || echo {n} > {{output}}"

rule big:
    output: "big"
    shell: "head -c 5000000 /dev/zero > {output}"

rule index:
    input: "big"
    output: "big.idx"
    shell: "echo 3 > {output}"

rule many:
    input: "heavy"
    output: "many"
    threads: lambda wildcards, input: max(1, int(input.size_mb) // 2)
    shell: "echo {threads} $OMP_NUM_THREADS > {output}"

rule heavy:
    output: "heavy"
    shell: "head -c 5000000 /dev/zero > {output}"

rule sized:
    input: "heavy"
    output: "sized"
    resources: mem_mb=lambda wildcards, input: max(int(100 * input.size_mb), 400)
    params: first=lambda wildcards, input: open(input[0]).read(1) == chr(0)
    shell: "echo {resources.mem_mb} {params.first} > {output}"

rule counted:
    input: "heavy", "big.idx"
    output: "counted"
    params: n=lambda wildcards: open("big.idx").read().strip()
    resources: mem_mb=lambda wildcards: 100 * int(open("big.idx").read())
    shell: "echo {params.n} {resources.mem_mb} > {output}"

def place(wildcards, resources):
    return f"{resources.tmpdir}/x"

rule placed:
    input: "big"
    output: "placed"
    params: where=place
    shell: '[ "{params.where}" = "$TMPDIR/x" ] && echo same > {output}'

rule placed_script:
    input: "big"
    output: "placed_script"
    params: where=place
    script: "placed.py"

rule placed_body:
    input: "big"
    output: "placed_body"
    params: where=place
    run: open(output[0], "w").write(str(params.where == f"{resources.tmpdir}/x"))

def roomy(wildcards, input, threads):
    return f"{tempfile.gettempdir()}/of {threads}/{input.size_mb > 1}"

rule called:
    input: "heavy"
    output: "called"
    resources: tmpdir=roomy
    shell: 'cd "{resources.tmpdir}" && touch x && name=$PWD && cd - > /dev/null && '
        '[ -e "$TMPDIR/x" ] && echo ${{name##*/of }} > {output}'

rule expressed:
    output: "expressed"
    shell: "test -d $TMPDIR && echo {resources.tmpdir} $TMPDIR > {output}"
"""
EXPRESSED = ("--set-resources", "expressed:tmpdir=/var/tmp/expressed")


def test_values_are_taken_when_snakemake_takes_them(workflow: Workflow, local: Path):
    script = (
        "made = snakemake.params.where == f'{snakemake.resources.tmpdir}/x'\n"
        "open(snakemake.output[0], 'w').write(str(made))\n"
    )
    prepare(workflow, local, VALUES, **{"placed.py": script})
    run_locally(local, *EXPRESSED)
    assert (local / "placed_body").read_text() == "True"
    assert (local / "called").read_text() == "1/True\n"
    plan = [shutil.which("osgpilot"), "plan", "--", *workflow.argv()[3:]]
    subprocess.run(plan, cwd=workflow.folder, check=True)
    assert workflow.run(*IN_IMAGE, *EXPRESSED) == 0, workflow.said
    assert files(workflow.folder) == files(local)


LATE = """
rule all:
    input: "used.txt", "said.txt"

rule use:
    input: "made.txt"
    output: "used.txt"
    group: "g"
    resources: mem_mb=lambda wildcards, input: max(2 * input.size_mb, 500)
    shell: "echo '{resources.mem_mb}' > {output}"

rule tell:
    input: "made.txt"
    output: "said.txt"
    group: "g"
    params: text=lambda wildcards, input: open(input[0]).read().strip()
    shell: "echo {params.text} > {output}"

rule make:
    output: "made.txt"
    group: "g"
    shell: "echo 1 > {output}"
"""


@pytest.mark.parametrize("old", [None, "from before"])
def test_a_value_that_depends_on_the_group_itself_is_never_made_up(
    workflow: Workflow, local: Path, old
):
    """The group ends before the members that need it."""
    prepare(workflow, local, LATE, **({} if old is None else {"made.txt": old}))
    run_locally(local, "--forceall")
    plan = [shutil.which("osgpilot"), "plan", "--", *workflow.argv("--forceall")[3:]]
    subprocess.run(plan, cwd=workflow.folder, check=True)
    assert workflow.run("--forceall") == 0, workflow.said
    for rule in ("use: its mem_mb", "tell: a parameter"):
        assert f"rule {rule} depends on made.txt, which its group makes; so" in workflow.said
    assert files(workflow.folder) == files(local)


def test_a_value_that_no_command_names_keeps_no_group_from_running(workflow: Workflow):
    workflow.snakefile("""
rule use:
    input: "made"
    output: "used"
    group: "g"
    resources: mem_mb=lambda wildcards, input: max(2 * input.size_mb, 500)
    shell: "cp {input} {output}"

rule make:
    output: "made"
    group: "g"
    shell: "echo 1 > {output}"
""")
    assert workflow.run("--nocolor", "used") == 0, workflow.said
    assert (workflow.folder / "used").read_text() == "1\n"


def test_a_rule_sees_the_threads_that_it_asked_for(workflow: Workflow):
    workflow.snakefile("""
rule all:
    output: "threads"
    threads: 4
    run: open(output[0], "w").write(str(threads))
""")
    assert workflow.run("--osgpilot-runtime-image", RUNTIME) == 0, workflow.said
    assert (workflow.folder / "threads").read_text() == "4"


MEASURED = """
rule all:
    input: "busy", "thrice", "lines", "grouped"

rule busy:
    output: "busy"
    benchmark: "bench/busy.tsv"
    shell:
        '''
        python3 -c "
import time
held = bytearray(200_000_000)
end = time.process_time() + 2
while time.process_time() < end: pass
time.sleep(3)"
        touch {output}
        '''

rule thrice:
    output: "thrice"
    benchmark: repeat("bench/thrice.tsv", 3)
    shell: "echo {bench_iteration} >> {output}"

rule lines:
    output: "lines"
    params: word="it's", n=3
    threads: 2
    benchmark: "bench/lines.jsonl"
    shell: "touch {output}"

rule grouped:
    input: "before"
    output: "grouped"
    group: "g"
    benchmark: "bench/{group}.tsv".format(group="grouped")
    shell: "cp {input} {output}"

rule before:
    output: temp("before")
    group: "g"
    shell: "echo 1 > {output}"
"""


def table(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text().splitlines(), delimiter="\t"))


@pytest.mark.parametrize("extended", [False, True])
def test_benchmarks_are_those_of_snakemake(workflow: Workflow, local: Path, extended):
    prepare(workflow, local, MEASURED)
    options = ["--benchmark-extended"] if extended else []
    run_locally(local, *options)
    image = ["--osgpilot-runtime-image", RUNTIME]
    text = (workflow.folder / "Snakefile").read_text()
    workflow.snakefile(
        text.replace(
            '"busy"\n    bench', f'"busy"\n    resources: container_image="{RUNTIME}"\n    bench'
        )
    )
    assert workflow.run(*image, *options) == 0, workflow.said
    assert (workflow.folder / "thrice").read_text() == "0\n1\n2\n"
    for name in ("busy", "thrice", "grouped"):
        here, there = (table(folder / f"bench/{name}.tsv") for folder in (local, workflow.folder))
        assert [list(row) for row in there] == [list(row) for row in here]
        for row in there:
            assert float(row["max_rss"]) > 0
            assert float(row["max_pss"]) > 0
            assert row["h:m:s"].startswith("0:0")
    (here,), (there,) = (table(folder / "bench/busy.tsv") for folder in (local, workflow.folder))
    for column in ("max_rss", "max_uss", "max_pss"):
        assert float(there[column]) == pytest.approx(float(here[column]), rel=0.2)
    assert float(there["cpu_time"]) == pytest.approx(2, abs=1)
    assert float(there["s"]) >= 5
    assert float(there["mean_load"]) > 0
    if extended:
        for column in ("rule_name", "wildcards", "params", "threads", "input_size_mb"):
            assert there[column] == here[column]
    here, there = (
        json.loads((f / "bench/lines.jsonl").read_text()) for f in (local, workflow.folder)
    )
    assert there.keys() == here.keys()
    if extended:
        assert (there["params"], there["threads"]) == (here["params"], here["threads"])


DIRECTIVES = """
SUM = "98ea6e4f216f2fb4b69fff9b3a44842c38686ca685f3f55dc48c5d3fb1107be4"

rule all:
    input:
        "rendered.yaml", "text", "shadowed", "deep/full", "full_of", "sure", "summed", "registry",
        "flag", "ro", "tries", "cut"

rule rendered:
    input: "template.yaml"
    output: "rendered.yaml"
    params: word="it's"
    template_engine: "yte"

rule text:
    input: template="template.txt", other="given"
    output: "text"
    params: word="it's $HOME \\n"
    template_engine: "jinja2"

rule shadowed:
    input: "given"
    output: "shadowed"
    shadow: "minimal"
    shell: "touch litter; cp {input} {output}"

rule full:
    input: "given"
    output: "deep/full", directory("full_of")
    shadow: "full"
    log: "logs/full"
    shell: "touch litter; cp {input} {output[0]}; mkdir full_of; touch full_of/x; echo l > {log}"

rule cut:
    input: "given"
    output: "cut"
    shadow: "copy-minimal"
    shell: "cp {input} {output}; truncate -s 1 {input} {output}"

rule sure:
    output: ensure("sure", non_empty=True)
    shell: "echo hi there > {output}; printf 'hi\\n' > {output}"

rule summed:
    output: ensure("summed", sha256=lambda wildcards: SUM)
    shell: "printf 'hi\\n' > {output}"

rule registry:
    input: "given"
    output: update("registry")
    shell: "cat {input} >> {output}"

rule flag:
    output: touch("flag")
    shell: "true"

rule ro:
    output: protected("ro")
    shell: "echo ro > {output}"

rule tries:
    output: "tries"
    retries: 2
    resources: tries=lambda wildcards, attempt: attempt
    shell: "echo {resources.tries} > {output}; [ {resources.tries} -ge 2 ]"
"""


def test_directives_are_honoured_by_the_command_alone(workflow: Workflow, local: Path):
    given = {
        "given": "content\n",
        "registry": "from before\n",
        "template.yaml": 'word: ?params.word\n?for n in range(2):\n  ?f"n{n}": ?n\n',
        "template.txt": "{{ params.word }} {{ input.other }} {{ config }}\n\n\n",
    }
    prepare(workflow, local, DIRECTIVES, **given)
    for folder in (workflow.folder, local):
        os.utime(folder / "registry", (1, 1))
    run_locally(local)
    assert workflow.run(*IN_IMAGE) == 0, workflow.said
    assert files(workflow.folder) == files(local)
    assert (workflow.folder / "ro").stat().st_mode & 0o222 == 0


def test_an_output_that_is_not_as_ensured_costs_that_job_only(workflow: Workflow, local: Path):
    text = """
rule all:
    input: "fine", "empty", "wrong", "grouped"

rule fine:
    output: "fine"
    shell: "echo fine > {output}"

rule empty:
    output: ensure("empty", non_empty=True), "beside"
    shell: "touch {output}"

rule wrong:
    output: ensure("wrong", md5="0" * 32)
    shell: "echo right > {output}"

rule inner:
    output: temp(ensure("inner", non_empty=True))
    group: "g"
    shell: "touch {output}"

rule grouped:
    input: "inner"
    output: "grouped"
    group: "g"
    shell: "cp {input} {output}"
"""
    prepare(workflow, local, text, wrong="from before")
    for folder in (workflow.folder, local):
        os.utime(folder / "wrong", (1, 1))
    said = run_locally(local, "--keep-going", "--forceall", status=1)
    assert workflow.run("--keep-going", "--forceall") == 1
    for words in (
        "Detected unexpected empty output files. Something went wrong in the rule without an "
        "error being reported:",
        "Output files have checksums that differ from the expected ones defined in the workflow:",
    ):
        assert words in said
        assert words in workflow.said
    assert (workflow.folder / "fine").read_text() == "fine\n"
    made = set(files(workflow.folder))
    assert not made & {"empty", "beside", "inner", "grouped"}


GROUP = """
rule all:
    input: expand("done{n}", n=range(8))

rule part:
    output: "part{n}"
    group: "g"
    shell:
        '''
        here=$_CONDOR_SCRATCH_DIR/here
        mkdir -p $here
        touch $here/{wildcards.n}
        for second in $(seq 40); do
            if [ $(ls $here | wc -l) -ge 4 ]; then break; fi
            sleep 1
        done
        ls $here | wc -l > {output}
        '''

rule done:
    input: "part{n}"
    output: "done{n}"
    shell: "cp {input} {output}"
"""


def test_members_of_a_group_run_on_the_cores_that_the_group_asks_for(workflow: Workflow):
    """Each waits for a while until it has seen three others begin."""
    workflow.snakefile(GROUP)
    assert workflow.run("--group-components", "g=4") == 0, workflow.said
    seen = [int((workflow.folder / f"done{n}").read_text()) for n in range(8)]
    assert min(seen) >= 4


PASSING = """
rule all:
    input: "sum", "counted", "answer", "outside", "scr"

rule big:
    output: temp("big")
    group: "g"
    shell: "echo 1 > {output}"

rule small:
    input: "big"
    output: "small"
    group: "g"
    shell: "cp {input} {output}"

rule sum:
    input: "small"
    output: "sum"
    group: "g"
    shell: "[ ! -e big ]; cp {input} {output}"

rule numbers:
    output: pipe("numbers")
    group: "p"
    shell: "seq 50000 > {output}"

rule counted:
    input: "numbers"
    output: "counted"
    group: "p"
    shell: "[ -p {input} ]; wc -l < {input} > {output}"

rule serve:
    output: service("served_by")
    shell: "echo service > {output}; while :; do sleep 0.2; done"

rule answer:
    input: "served_by"
    output: "answer"
    shell: "until [ -s {input} ]; do sleep 0.1; done; cp {input} {output}"

rule shared:
    output: temp("shared")
    group: "s"
    shell: "echo shared > {output}"

rule inside:
    input: "shared"
    output: "inside"
    group: "s"
    shell: "cp {input} {output}"

rule outside:
    input: "shared", "inside"
    output: "outside"
    shell: "cat {input} > {output}"

rule one:
    output: touch("one")
    group: "w"
    resources: shell_exec="sh"
    shell: "[ -z $BASH_VERSION ]"

rule script:
    input: "one"
    output: "scr"
    group: "w"
    script: "script.sh"
"""


def test_files_that_only_a_group_uses(workflow: Workflow, local: Path):
    text = PASSING.replace("[ ! -e big ]; ", "")
    script = 'ls "${snakemake_input[0]}" > "${snakemake_output[0]}"; '
    script += 'echo "${snakemake_resources[mem_mb]-none}" >> "${snakemake_output[0]}"\n'
    prepare(workflow, local, text, **{"script.sh": script})
    run_locally(local, "--default-resources", "mem_mb=500", "disk_mb=100")
    workflow.snakefile(PASSING)
    assert workflow.run(*IN_IMAGE) == 0, workflow.said
    there, here = files(workflow.folder), files(local)
    del there["Snakefile"], here["Snakefile"]
    assert there == here


def test_a_member_that_fails_is_named_and_all_logs_return(workflow: Workflow):
    workflow.snakefile("""
rule all:
    input: "c"

rule a:
    output: "a"
    log: "a.log"
    group: "g"
    shell: "echo was here > {log}; touch {output}"

rule b:
    input: "a"
    output: "b-{n}"
    log: "b-{n}.log"
    group: "g"
    shell: "echo why > {log}; exit 3"

rule c:
    input: "b-1"
    output: "c"
    log: "c.log"
    group: "g"
    shell: "touch {output}"
""")
    assert workflow.run() == 1
    assert "osgpilot: rule b (n=1) failed with exit status 3" in workflow.said
    assert "the command failed with exit status 3" in workflow.said
    assert (workflow.folder / "a.log").read_text() == "was here\n"
    assert (workflow.folder / "b-1.log").read_text() == "why\n"
    assert not {"a", "b-1", "c"} & set(files(workflow.folder))


MODULES = """
envvars: "MODULEPATH"

rule all:
    output: "loaded"
    envmodules: "tools/1.0", "more"
    shell: "echo $TOOLS $MORE > {output}"
"""


def test_environment_modules_are_loaded_or_reported_as_missing(
    workflow: Workflow, shared: Path, monkeypatch: pytest.MonkeyPatch
):
    (shared / "tools").mkdir()
    (shared / "tools" / "1.0").write_text("#%Module\nsetenv TOOLS {a tool}\n")
    (shared / "more").write_text("#%Module\nsetenv MORE {and more}\n")
    monkeypatch.setenv("MODULEPATH", str(shared))
    workflow.snakefile(MODULES)
    options = ["--sdm", "env-modules", "--osgpilot-shared-prefixes", str(shared)]
    assert workflow.run(*options, "--osgpilot-runtime-image", RUNTIME) == 0, workflow.said
    assert (workflow.folder / "loaded").read_text() == "a tool and more\n"
    without = ["--set-resources", "all:container_image=/opt/sif/job.sif", "--forceall"]
    assert workflow.run(*options, *without) == 1
    assert "rule all has `envmodules:`, and there is no `module` command here" in workflow.said


CONTAINED = f"""
rule all:
    output: "out"
    container: "{RUNTIME}"
    shell: "echo $COLOUR $SHAPE > {{output}}"
"""


def test_apptainer_args_are_honoured_or_refused(workflow: Workflow):
    workflow.snakefile(CONTAINED)
    sdm = ["--sdm", "apptainer"]
    assert workflow.run(*sdm, "--apptainer-args=--env A=b --bind /x:/y") == 1
    assert "--apptainer-args: --bind /x:/y cannot be passed on to pilots" in workflow.said
    assert "Traceback" not in workflow.said
    args = "--apptainer-args=--nv --env COLOUR=red,SHAPE=round"
    assert workflow.run(*sdm, args) == 0, workflow.said
    assert (workflow.folder / "out").read_text() == "red round\n"
