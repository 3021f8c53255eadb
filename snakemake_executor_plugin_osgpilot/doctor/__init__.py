"""Checks of every prerequisite of a run; each failure comes with a fix."""
