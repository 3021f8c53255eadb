"""Compare the planner with other scaling policies and with lower bounds.

Only the command line imports it (`osgpilot simulate`).
"""
