"""The autoscaler: from a view of the jobs to a plan for the pilots.

autoscaler      gathers the snapshot, asks the planner
shared_limits   limits that several runs of one workflow share
planner/        the decisions (pure)
"""
