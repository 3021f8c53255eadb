"""Helpers for all folders, independent of runs, jobs and pilots."""
