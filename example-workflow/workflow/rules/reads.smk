# Jobs on the Open Science Pool see only their declared inputs, as paths below the
# working folder. This rule, which runs where Snakemake runs, brings the data there.
rule fetch:
    localrule: True
    input:
        reference=config["reference"],
        reads=config["reads"],
    output:
        reference="results/genome/genome.fa",
        reads=expand("results/reads/reads_{mate}.fq.gz", mate=[1, 2]),
    log:
        "results/logs/fetch.log",
    shell:
        "cp -v {input.reference} {output.reference} > {log} 2>&1 && "
        "set -- {output.reads} && "
        "for reads in {input.reads}; do cp -v $reads $1; shift; done >> {log} 2>&1"


# Dealing reads out like cards keeps mates together: both files are dealt the same way.
rule split:
    input:
        "results/reads/reads_{mate}.fq.gz",
    output:
        expand("results/chunks/{chunk}_{{mate}}.fq.gz", chunk=CHUNKS),
    log:
        "results/logs/split_{mate}.log",
    params:
        chunks=len(CHUNKS),
    shell:
        "(gzip -dc {input} | paste - - - - |"
        " split --number r/{params.chunks} --numeric-suffixes --suffix-length 2"
        " --additional-suffix _{wildcards.mate}.fq.gz"
        " --filter 'tr \"\\t\" \"\\n\" | gzip > $FILE' - results/chunks/) 2> {log}"
