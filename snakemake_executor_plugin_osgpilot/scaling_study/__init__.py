"""How good is the scaling? Compares the planner with other policies and with lower bounds.

Only the command line imports it (`osgpilot simulate`).
"""
