"""Why a job waits, is held, or failed.

gather          collects what is known, asking Slurm and HTCondor where that helps
facts           the values that explanations are made of
explain, jobs, pilots   make them (pure)
reason_codes    what HTCondor's and Slurm's codes mean, and what to do
"""
