"""Where the jobs of each rule run, and why.

rules     asks for each rule of the workflow
policy    decides (pure)
"""
