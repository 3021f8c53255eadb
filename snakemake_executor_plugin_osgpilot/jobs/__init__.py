"""The jobs of a run at the access point: submit, follow, repair.

manager        follows the event log, reports jobs that ended
submitter      submits jobs in batches
interventions  removes, releases and resubmits jobs in trouble
rematch        frees jobs that the schedd no longer offers to the negotiator
log_gaps       asks queue and history where the event log has a gap
access_point   the interface that `htcondor` implements
state/         the tracked jobs, and the decisions about them (pure)
"""
