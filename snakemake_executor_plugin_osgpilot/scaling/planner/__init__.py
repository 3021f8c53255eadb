"""The autoscaler's decisions. Pure: a snapshot in, a plan out.

planner                          entry point: snapshot, estimates and policy to a plan
assessment                       demand, supply and the gap
supply, placement, bin_packing   capacity of the live pilots, and the jobs it is for
scale_up, scale_down             pilots to start and to end
site_choice                      the site of new pilots
target_size, limits              cores worth having, cores allowed
residuals                        how long pilots are still busy at the end
feasibility                      jobs that no pilot can run
estimates, critical_path, eta    runtimes, queue waits, time remaining
bounds                           bounds of a workflow's time and core-hours
"""
