rule index:
    input:
        rules.fetch.output.reference,
    output:
        fai="results/genome/genome.fa.fai",
        index=multiext(
            "results/genome/genome",
            ".1.bt2",
            ".2.bt2",
            ".3.bt2",
            ".4.bt2",
            ".rev.1.bt2",
            ".rev.2.bt2",
        ),
    log:
        "results/logs/index.log",
    params:
        prefix=lambda wildcards, output: output.fai.removesuffix(".fa.fai"),
    shell:
        "(samtools faidx {input} && bowtie2-build {input} {params.prefix}) > {log} 2>&1"


rule map:
    input:
        index=rules.index.output.index,
        mate1="results/chunks/{chunk}_1.fq.gz",
        mate2="results/chunks/{chunk}_2.fq.gz",
    output:
        "results/mapped/{chunk}.bam",
    log:
        "results/logs/map/{chunk}.log",
    params:
        prefix=lambda wildcards, input: input.index[0].removesuffix(".1.bt2"),
    threads: 4
    shell:
        "(bowtie2 --threads {threads} --rg-id {wildcards.chunk} --rg SM:lambda"
        " -x {params.prefix} -1 {input.mate1} -2 {input.mate2} |"
        " samtools sort -o {output}) 2> {log}"


rule merge:
    input:
        expand("results/mapped/{chunk}.bam", chunk=CHUNKS),
    output:
        bam="results/mapped.bam",
        bai="results/mapped.bam.bai",
    log:
        "results/logs/merge.log",
    shell:
        "(samtools merge -f {output.bam} {input} && samtools index {output.bam}) 2> {log}"
