"""Jobs that need much memory do not keep those that need little from the cores."""

from conftest import nothing_left


def test_jobs_of_much_memory_leave_the_cores_beside_them_to_others(workflow, shared):
    """A pilot of four cores has the memory for two jobs of `much`, and then for none beside them.

    Were two of them on it, neither would see three of `little` start, and the second would say so.
    """
    workflow.snakefile(f"""
rule all:
    input: expand("much/{{n}}", n=range(2)), expand("little/{{n}}", n=range(4))

rule much:
    output: "much/{{n}}"
    resources: mem_mb=1600
    shell:
        \"\"\"
        mkdir {shared}/much
        for second in $(seq 200); do
            if [ $(ls {shared} | grep -c little) -ge 3 ]; then break; fi
            sleep 1
        done
        ls {shared} | grep little > {{output}}
        rmdir {shared}/much
        touch {shared}/over
        \"\"\"

rule little:
    output: "little/{{n}}"
    shell:
        \"\"\"
        mkdir {shared}/little-{{wildcards.n}}
        for second in $(seq 200); do
            if [ -e {shared}/over ]; then break; fi
            sleep 1
        done
        touch {{output}}
        \"\"\"
""")
    options = ["--osgpilot-max-pilots", "1", "--osgpilot-shared-prefixes", str(shared)]
    assert workflow.run(*options) == 0, workflow.said
    assert len((workflow.folder / "much" / "0").read_text().split()) >= 3
    assert nothing_left()
