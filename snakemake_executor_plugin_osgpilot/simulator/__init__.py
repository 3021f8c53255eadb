"""Runs of the planner, and of others' rules, in a world of virtual time."""
