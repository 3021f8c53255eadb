rule call:
    input:
        bam=rules.merge.output.bam,
        bai=rules.merge.output.bai,
        fasta=rules.fetch.output.reference,
        fai=rules.index.output.fai,
    output:
        "results/variants.vcf.gz",
    log:
        "results/logs/call.log",
    shell:
        "(bcftools mpileup --output-type u --fasta-ref {input.fasta} {input.bam} |"
        " bcftools call --multiallelic-caller --variants-only --ploidy 1"
        " --output-type z --output {output}) 2> {log}"


rule depth:
    input:
        rules.merge.output.bam,
    output:
        "results/depth.tsv",
    log:
        "results/logs/depth.log",
    shell:
        "samtools depth -a {input} > {output} 2> {log}"


# A helper script is an input like any other: it travels with the job, and a change
# of it runs the rule again.
rule plot:
    input:
        script="workflow/scripts/plot.py",
        depth=rules.depth.output,
        variants=rules.call.output,
    output:
        "results/coverage.png",
    log:
        "results/logs/plot.log",
    shell:
        "python3 {input.script} {input.depth} {input.variants} {output} 2> {log}"
