"""The autoscaler's decisions. Pure: a snapshot in, a plan out.

planner                the rules in order; the plan and its reasons
assessment             demand, supply and what is missing
supply, placement, bin_packing   what the pilots that are there and under way can take
scale_up, scale_down   which pilots to start, which to end
target_size, limits    how many cores are worth having, and how many are allowed
feasibility            jobs that no pilot can run
estimates, critical_path, upcoming, eta   runtimes, waits, what comes next
"""
