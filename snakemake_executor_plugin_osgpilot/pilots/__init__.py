"""The pilot: the batch script that Slurm runs and the parameters it is given."""
