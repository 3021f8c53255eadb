"""Observability of a run: history, progress, console.

recorder, records    records of the history, and when they are written
history_file         the file (JSON lines)
line_check           validates a line that is read
progress             progress and estimated time remaining
notify                messages at the end of a run, or when it needs a person
console              log records to Snakemake's logger; the status line in the terminal
"""
