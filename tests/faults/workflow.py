"""The workflow that faults are done to: its text, its outputs, and what it recorded of them."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable

FAN_IN = 3
LINES = 3000
PAYLOAD = f"""
rule all:
    localrule: True
    input: [f"out/gather/{{n}}" for n in range(@gathers@)]

rule each:
    output: "out/each/{{n}}"
    log: "log/each/{{n}}"
    params: seconds=lambda w: 0.5 + int(w.n) % 4 / 2
    shell: '''
        if grep -qf @shared@/bad-node "$_CONDOR_MACHINE_AD" 2> /dev/null; then exit 1; fi
        if [ -e @shared@/before-each ]; then
            . @shared@/before-each {{wildcards.n}} {{output}} {{log}}
        fi
        sleep {{params.seconds}}
        seq {{wildcards.n}} $(( {{wildcards.n}} + {LINES - 1} )) > {{output}}
        echo ended >> @shared@/each-{{wildcards.n}}
        '''

rule gather:
    input: lambda w: [f"out/each/{{{FAN_IN} * int(w.n) + i}}" for i in range({FAN_IN})]
    output: "out/gather/{{n}}"
    shell: '''
        if grep -qf @shared@/bad-node "$_CONDOR_MACHINE_AD" 2> /dev/null; then exit 1; fi
        sleep 0.5
        cat {{input}} > {{output}}
        echo ended >> @shared@/gather-{{wildcards.n}}
        '''
"""
"""`@shared@` is a folder that all jobs of a workflow see. In it, every execution that comes to its
end leaves a line in a file of its job; `bad-node` has the line of a slot's ad on whose node all
jobs are to fail, and `before-each` what jobs of the rule `each` do first."""

_INTRODUCED = re.compile(r"^    output: (\S+)\n(?:    .*\n)*?    jobid: (\d+)$", re.MULTILINE)
_FINISHED = re.compile(r"^Finished jobid: (\d+)", re.MULTILINE)


def snakefile(jobs: int, shared: str) -> str:
    """Return a workflow of about `jobs` jobs: three of four by themselves, then one for three."""
    return PAYLOAD.replace("@gathers@", str(gathers(jobs))).replace("@shared@", shared)


def gathers(jobs: int) -> int:
    return jobs // (FAN_IN + 1)


def wanted(jobs: int) -> dict[str, str]:
    """Return the outputs by path, with the MD5 sum of their expected content."""
    count = gathers(jobs)
    each = [_numbers(n) for n in range(FAN_IN * count)]
    made = {f"out/each/{n}": text for n, text in enumerate(each)}
    made |= {f"out/gather/{n}": "".join(each[FAN_IN * n : FAN_IN * (n + 1)]) for n in range(count)}
    return {path: hashlib.md5(text.encode()).hexdigest() for path, text in made.items()}


def _numbers(first: int) -> str:
    return "".join(f"{number}\n" for number in range(first, first + LINES))


def finished(said: str) -> list[str]:
    """Return the outputs of the jobs that one start of Snakemake called finished."""
    output_by_id = {number: output for output, number in _INTRODUCED.findall(said)}
    return [output_by_id[number] for number in _FINISHED.findall(said) if number in output_by_id]


def twice(lives: Iterable[str]) -> set[str]:
    """Return the outputs whose job was finished more than once over all starts of Snakemake."""
    reported = Counter(output for said in lives for output in finished(said))
    return {output for output, times in reported.items() if times > 1}
