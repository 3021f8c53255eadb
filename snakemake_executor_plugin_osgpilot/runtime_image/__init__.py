"""Images with Snakemake, for rules that need Python on the execution point."""
