"""What has to be known of a run after its Snakemake died: the journal, its holder, taking it up."""
