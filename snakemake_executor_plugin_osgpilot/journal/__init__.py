"""Durable state of a run, from which the next session resumes it.

store, schema       the journal: one SQLite file for each run
run_folder          paths of a run, and its record
location            where a run has its jobs and pilots
lease, holder, process   which process holds a run, and whether it is alive
open_files          whether a process here has a file open
start_lock          one start or removal at a time in a working folder
fencing             a process that lost its run stops at once
"""
