"""Value types shared by the planner and the adapters. Pure: no I/O, no clock."""
