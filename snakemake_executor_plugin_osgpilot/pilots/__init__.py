"""The pilots of a run.

manager        launch, observe, drain and end pilots
fleet          the same at all sites of a run
batch_system   the interface to Slurm
requests       what pilots request from it
parameters     the input of the batch script (pilot.sh; probe.sh: what the doctor runs in its place)
token          check of the pool token
state/         what is known of the pilots, and the decisions about them (pure)
"""
