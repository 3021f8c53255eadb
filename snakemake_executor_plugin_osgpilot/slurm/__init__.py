"""The Slurm adapter: argument lists and parsers are pure, `local` runs them."""
