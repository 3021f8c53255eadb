"""Helpers that any folder may use, and that know nothing of runs, jobs and pilots."""
