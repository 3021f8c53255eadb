"""Why a job waits, is held, or failed.

gather                  collects what is known, and queries Slurm and HTCondor where that helps
facts                   the input of explanations
explain, jobs, pilots   make them (pure)
reason_codes            the meaning of HTCondor's and Slurm's codes, and what to do
"""
