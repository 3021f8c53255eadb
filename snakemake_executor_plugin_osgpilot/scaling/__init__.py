"""The autoscaler: from a view of the jobs to a plan for the pilots.

autoscaler      observes, runs the planner, returns the decision
ports           the jobs, the pool and the planner, as it uses them
shared_limits   quotas shared by the runs of one workflow
planner/        the decisions (pure)
"""
