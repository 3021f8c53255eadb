"""Choose where the jobs of each rule run, with a reason.

rules     collect facts about each rule of the workflow
policy    decide (pure)
"""
