"""Other systems' rules of scaling, one module each, as planners of the same signature as ours."""
