"""Runs of the autoscaler, with our planner or others' rules, in a world of virtual time."""
