"""The image in which Snakemake runs on the execution point, for rules that need Python there."""
