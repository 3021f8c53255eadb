"""Decisions. Nothing here reads a clock, a file, the network, Snakemake, HTCondor or Slurm."""
