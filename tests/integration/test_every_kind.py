"""Languages and directives that no other test compares with the local executor, byte by byte.

Each rule runs in its own image, or in the packed Python environment, without a Snakefile there.
"""

import json
import os
from pathlib import Path

import pytest
from beside_local import IMAGE, IN_IMAGE, files, notebook, prepare, run_locally
from conftest import WebServer, Workflow

LANGUAGES = rf"""
configfile: "config.yaml"
LANGUAGES = ["python", "r", "rmd", "bash", "xsh", "hy", "book", "r_book"]
rule all:
    input: expand("{{language}}.txt", language=LANGUAGES)

rule python:
    input: "in put.txt", named="config.yaml"
    output: "python.txt"
    params: text="it's \n", several={{"a": [1, None]}}
    threads: 2
    resources: container_image="{IMAGE}", extra="more"
    script: "scripts/make.py"

rule r:
    input: "in put.txt", named="config.yaml"
    output: "r.txt"
    params: text="it's \n", several={{"a": [1, 2]}}
    resources: extra="more"
    container: "{IMAGE}"
    script: "scripts/make.R"

rule rmd:
    input: "in put.txt", named="config.yaml"
    output: "rmd.txt"
    params: text="it's"
    container: "{IMAGE}"
    script: "scripts/make.Rmd"

rule bash:
    input: "in put.txt", named="config.yaml"
    output: "bash.txt"
    params: text="it's \n", several=["a b", "c"]
    container: "{IMAGE}"
    script: "scripts/make.sh"

rule xonsh:
    input: "in put.txt", named="config.yaml"
    output: "xsh.txt"
    params: text="it's \n"
    script: "scripts/make.xsh"

rule hy:
    input: "in put.txt", named="config.yaml"
    output: "hy.txt"
    params: text="it's \n"
    script: "scripts/make.hy"

rule book:
    input: "in put.txt"
    output: "book.txt"
    log: notebook="executed.ipynb"
    params: text="it's \n"
    notebook: "scripts/make.py.ipynb"

rule r_book:
    input: "in put.txt", named="config.yaml"
    output: "r_book.txt"
    log: notebook="executed.r.ipynb"
    params: text="it's \n"
    container: "{IMAGE}"
    notebook: "scripts/make.r.ipynb"
"""

CODE = """
from here import WORD
print(WORD, repr(snakemake.params.text), snakemake.rule, snakemake.config["greeting"])
with open(snakemake.output[0], "w") as out:
    print(WORD, repr(snakemake.params.text), snakemake.config, snakemake.threads, file=out)
    print(snakemake.input, open(snakemake.input[0]).read(), snakemake.wildcards, file=out)
"""
BOOK = notebook(CODE)
R_BOOK = notebook(
    """
cat(snakemake@rule, snakemake@params[["text"]])
writeLines(c(readLines(snakemake@input[[1]]), snakemake@input[["named"]],
             snakemake@params[["text"]], snakemake@config[["greeting"]]), snakemake@output[[1]])
""",
    language="R",
    kernel="ir",
)

BOOKS = ("executed.ipynb", "executed.r.ipynb")
"""The executed notebooks, in which there are times."""

SCRIPTS = {
    "config.yaml": "greeting: hello\n",
    "in put.txt": "input\n",
    "scripts/here.py": "WORD = 'helped'\n",
    "scripts/make.py": CODE + "    print(snakemake.params.several, snakemake.resources.extra,"
    " snakemake.input.named, file=out)\n",
    "scripts/make.py.ipynb": json.dumps(BOOK),
    "scripts/make.r.ipynb": json.dumps(R_BOOK),
    "scripts/make.R": """
writeLines(c(readLines(snakemake@input[[1]]), snakemake@input[["named"]],
             snakemake@params[["text"]], as.character(snakemake@params[["several"]][["a"]]),
             snakemake@config[["greeting"]], snakemake@rule, as.character(snakemake@threads),
             snakemake@resources[["extra"]], basename(snakemake@scriptdir)), snakemake@output[[1]])
""",
    "scripts/make.Rmd": """---
title: "Report"
output: md_document
---

Of `r snakemake@rule`: `r snakemake@params[["text"]]`, `r snakemake@config[["greeting"]]`.

```{r}
print(readLines(snakemake@input[[1]]))
print(snakemake@input[["named"]])
```
""",
    "scripts/make.sh": """
{
    printf '<%s>' "${snakemake_params[text]}" "${snakemake_params[several]}"
    cat "${snakemake_input[0]}" "${snakemake_input[named]}"
    printf '<%s>' "${snakemake_config[greeting]}" "${snakemake[rule]}" "${snakemake[threads]}"
} > "${snakemake_output[0]}"
""",
    "scripts/make.xsh": """
with open(snakemake.output[0], "w") as out:
    said = $(cat @(snakemake.input[0]))
    print(said.strip(), repr(snakemake.params.text), snakemake.config, snakemake.rule, file=out)
    print(snakemake.input.named, file=out)
""",
    "scripts/make.hy": """
(with [out (open (get snakemake.output 0) "w")]
  (print (.read (open (get snakemake.input 0))) (repr snakemake.params.text) snakemake.config
         snakemake.rule snakemake.input.named :file out))
""",
}


def test_every_language_of_scripts_makes_what_it_makes_locally(workflow: Workflow, local: Path):
    """Julia and Rust are left out: neither Debian nor a Python index has their interpreters."""
    prepare(workflow, local, LANGUAGES, **SCRIPTS)
    options = ("--sdm", "apptainer")
    run_locally(local, *options)
    assert workflow.run(*options) == 0, workflow.said
    made = files(local, *BOOKS, ".jupyter")
    assert files(workflow.folder, *BOOKS) == made
    assert len([name for name in made if "/" not in name and name.endswith(".txt")]) == 9
    assert b"helped" in made["python.txt"]
    assert b"Of rmd: it\xe2\x80\x99s, hello." in made["rmd.txt"]
    for name in BOOKS:
        executed = [
            json.loads((folder / name).read_text())["cells"][-1]
            for folder in (local, workflow.folder)
        ]
        assert executed[0]["outputs"] == executed[1]["outputs"] != []
        assert executed[0]["source"] == executed[1]["source"]


SORT = """
cwlVersion: v1.2
class: CommandLineTool
baseCommand: sort
inputs:
  text: {type: File, inputBinding: {position: 1}}
  backwards: {type: boolean, inputBinding: {prefix: -r}}
  sorted: string
outputs:
  result: {type: stdout}
stdout: $(inputs.sorted)
"""


def test_cwl_tools_run_as_locally(workflow: Workflow, local: Path, web: WebServer):
    """Of a local file, Snakemake 9.27.1 makes a URL that cwltool does not take with Python 3.13."""
    (web.folder / "sort.cwl").write_text(SORT)
    text = """
rule {name}:
    input: text="given.txt"
    output: sorted="{name}.txt"
    params: backwards={backwards}
    cwl: "{tool}"
"""
    of_web = text.format(name="of_web", backwards=True, tool=f"{web.url}/sort.cwl")
    of_file = text.format(name="of_file", backwards=False, tool="tools/sort.cwl")
    first = 'rule all:\n    input: "of_web.txt"\n'
    given = {"given.txt": "a\nc\nb\n", "tools/sort.cwl": SORT}
    prepare(workflow, local, first + of_web, **given)
    run_locally(local)
    workflow.snakefile(first.replace('"of_web', '"of_file.txt", "of_web') + of_web + of_file)
    assert workflow.run() == 0, workflow.said
    made = files(workflow.folder)
    assert made["of_web.txt"] == files(local)["of_web.txt"] == b"c\nb\na\n"
    assert made["of_file.txt"] == b"a\nb\nc\n"


SHADOWS = """
rule all:
    input:
        expand("shell_{depth}", depth=DEPTHS), expand("script_{depth}", depth=DEPTHS),
        expand("body_{depth}", depth=DEPTHS), "group_2"

for depth in DEPTHS:
    rule:
        name: f"shell_{depth}"
        input: "given"
        output: f"shell_{depth}"
        shadow: depth
        shell: "touch litter; echo changed > changed; cat {input} > {output}; wc -l < {input}"

    rule:
        name: f"script_{depth}"
        input: "given"
        output: f"script_{depth}"
        shadow: depth
        script: "scripts/copy.py"

    rule:
        name: f"body_{depth}"
        input: "given"
        output: f"body_{depth}"
        shadow: depth
        run:
            open("litter", "w").close()
            open(output[0], "w").write(open(input[0]).read() + rule)

rule group_1:
    output: temp("group_1"), "beside"
    group: "g"
    shadow: "minimal"
    shell: "touch litter; echo 1 > {output[0]}; echo b > {output[1]}"

rule group_2:
    input: "group_1"
    output: "group_2"
    group: "g"
    shadow: "shallow"
    shell: "[ ! -e litter ]; cp {input} {output}"
"""


def test_shadows_of_every_depth_leave_no_litter(workflow: Workflow, local: Path):
    depths = ["minimal", "shallow", "full", "copy-minimal"]
    given = {
        "given": "given\n",
        "changed": "as it was\n",
        "scripts/copy.py": "open('litter', 'w').close()\n"
        "open(snakemake.output[0], 'w').write(open(snakemake.input[0]).read() + snakemake.rule)\n",
    }
    prepare(workflow, local, f"DEPTHS = {depths}\n{SHADOWS}", **given)
    # a shallow shadow has links to files beside it, so that a command changes these
    run_locally(local)
    assert (local / "changed").read_text() == "changed\n"
    (local / "changed").write_text("as it was\n")
    assert workflow.run(*IN_IMAGE) == 0, workflow.said
    assert files(workflow.folder) == files(local)
    assert "litter" not in files(local)


FLAGS = """
shell.executable("dash")
shell.prefix("FROM_PREFIX=yes; ")
shell.suffix("; echo suffix >&2")

rule all:
    input: "joined", "flag", "ro", "alone"

rule first:
    output: temp("first_{n}"), touch("done/{n}")
    group: "g"
    shell: "echo $FROM_PREFIX ${{BASH_VERSION:-dash}} {wildcards.n} > {output[0]}"

rule second:
    input: "first_{n}", "done/{n}"
    output: protected("second_{n}"), temp(directory("folder_{n}"))
    group: "g"
    script: "scripts/second.py"

rule joined:
    input: expand("second_{n}", n=range(3)), expand("folder_{n}", n=range(3))
    output: "joined"
    group: "g"
    run: shell("cat {input[0]} {input[1]} {input[2]} {input[3]}/x > {output}")

rule flag:
    output: touch("flag")
    shell: "true"

rule ro:
    output: protected("ro"), protected(directory("ro_folder"))
    shell: "echo ro > {output[0]}; mkdir {output[1]}; echo x > {output[1]}/x"

rule temporary:
    output: temp("temporary"), temp(directory("temporary_folder"))
    shell: "echo t > {output[0]}; mkdir {output[1]}; echo x > {output[1]}/x"

rule alone:
    input: "temporary", "temporary_folder"
    output: "alone"
    retries: 2
    threads: lambda wildcards, attempt: attempt
    shell: "[ {threads} = 2 ]; cat {input[0]} {input[1]}/x > {output}; echo {threads} >> {output}"
"""


def test_flags_of_files_and_settings_of_the_shell_hold_in_groups_of_all_kinds(
    workflow: Workflow, local: Path
):
    script = (
        "import os\nos.mkdir(snakemake.output[1])\n"
        "open(snakemake.output[1] + '/x', 'w').write('x')\n"
        "open(snakemake.output[0], 'w').write(open(snakemake.input[0]).read() + 'second')\n"
    )
    prepare(workflow, local, FLAGS, **{"scripts/second.py": script})
    run_locally(local)
    assert workflow.run() == 0, workflow.said
    assert files(workflow.folder) == files(local)
    assert b"yes dash 0\n" in files(local)["joined"]
    for name in ("ro", "second_0", "ro_folder/x"):
        assert not (local / name).stat().st_mode & 0o222
        assert not (workflow.folder / name).stat().st_mode & 0o222


CHOSEN = """
rule all:
    input: "c", "d"

rule a:
    output: "a"
    shell: "echo a > {output}"

rule b:
    input: "a"
    output: "b"
    shell: "cat {input} > {output}; echo b >> {output}"

rule c:
    input: "b"
    output: "c"
    shell: "cat {input} > {output}; echo c >> {output}"

rule d:
    input: "a"
    output: "d"
    shell: "cat {input} > {output}; echo d >> {output}"
"""


@pytest.mark.parametrize("chosen", [("--until", "b"), ("--omit-from", "b")])
def test_a_part_of_a_workflow_runs_as_locally(workflow: Workflow, local: Path, chosen):
    prepare(workflow, local, CHOSEN)
    run_locally(local, *chosen)
    assert workflow.run(*IN_IMAGE, *chosen) == 0, workflow.said
    assert files(workflow.folder) == files(local)
    assert {"--until": {"a", "b"}, "--omit-from": {"a", "d"}}[chosen[0]] == {
        name for name in files(local) if len(name) == 1
    }


THE_REST = """
from pathlib import Path
configfile: "config.yaml"
wildcard_constraints: n="[0-9]+"
pathvars: results="out"
scattergather: split=3
localrules: here
ruleorder: better > worse
resource_scopes: api_calls="global"
onsuccess: Path("succeeded").touch()
onerror: Path("failed").touch()

rule named:
    name: "another_name"
    message: "making {output}"
    output: "<results>/named"
    priority: 10
    resources: api_calls=1
    shell: "echo {rule} > {output}"

rule all:
    default_target: True
    input:
        "out/named", "ordered", "m.fa", "here", "joined", "unpacked", "chosen", "aged", "kept",
        "handed", "mine", "report.html", "before"

rule worse:
    output: "ordered"
    shell: "echo worse > {output}"

rule better:
    output: "ordered"
    shell: "echo better > {output}"

rule many:
    output: multiext("m", fa=".fa", idx=".fa.fai")
    shell: "echo fa > {output.fa}; echo {output.idx} > {output.idx}"

rule here:
    input: "m.fa"
    output: "here"
    shell: "cp {input} {output}"

rule scatter:
    output: scatter.split("split/{scatteritem}.txt")
    shell: "for each in {output}; do echo $each > $each; done"

rule each:
    input: "split/{scatteritem}.txt"
    output: "each/{scatteritem}.txt"
    shell: "sed 's/^/each /' {input} > {output}"

rule joined:
    input: gather.split("each/{scatteritem}.txt")
    output: "joined"
    shell: "cat {input} > {output}"

def several(wildcards):
    return {"one": "m.fa", "two": expand("each/{s}-of-3.txt", s=[1, 2])}

rule unpacked:
    input: unpack(several)
    output: "unpacked"
    shell: "cat {input.one} {input.two} > {output}"

rule chosen:
    input: branch(lookup("fast", within=config), then="m.fa", otherwise="no_such_file")
    output: "chosen"
    params: lookup("deep/value", within=config), found=exists("config.yaml")
    shell: "cat {input} > {output}; echo {params} >> {output}"

rule aged:
    input: ancient("m.fa"), collect("each/{s}-of-3.txt", s=[3])
    output: "aged"
    log: "logs/{rule}.log".format(rule="aged"), other="logs/other.log"
    shell: "cat {input} > {output}; echo a > {log[0]}; echo b > {log.other}"

rule kept:
    input: before_update("registry")
    output: "kept"
    cache: "omit-software"
    shell: "cat {input} > {output}"

rule before:
    input: "kept"
    output: update("registry"), touch("before")
    shell: "echo new >> {output[0]}"

rule handed:
    output: "handed"
    handover: True
    shell: "echo handed > {output}"

rule mine:
    output: "mine"
    localrule: True
    shell: "echo mine > {output}"

rule page:
    output: report("report.html", caption="caption.rst", category="c")
    shell: "echo '<p>' > {output}"
"""


def test_the_rest_of_the_language_does_what_it_does_locally(workflow: Workflow, local: Path):
    given = {
        "config.yaml": "fast: true\ndeep: {value: 5}\n",
        "registry": "from before\n",
        "caption.rst": "caption\n",
    }
    prepare(workflow, local, THE_REST, **given)
    for folder in (workflow.folder, local):
        os.utime(folder / "registry", (1, 1))
    run_locally(local)
    assert workflow.run(*IN_IMAGE, "--cores", "2") == 0, workflow.said
    assert files(workflow.folder) == files(local)
    made = files(local)
    assert made["registry"] == b"from before\nnew\n"
    assert made["kept"] == b"from before\n"
    assert made["out/named"] == b"another_name\n"
    assert made["chosen"] == b"fa\n5 True\n"
    assert "succeeded" in made
    assert "failed" not in made
    assert "making out/named" in workflow.said
