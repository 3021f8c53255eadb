"""The Slurm adapter: argument lists and parsers are pure, `client` runs them, through `host`."""
