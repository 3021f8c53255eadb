"""Is the set-up right: every precondition of a run, tested, each failure with its cure."""
