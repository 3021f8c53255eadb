"""Configuration of a run: settings and the site file.

settings, run_options, project   settings of the executor, their checks, and the planner's policy
site, site_schema                the site file, and its JSON Schema
sites                            several of them, as the sites of one run
sbatch_options                   options of `sbatch` that a site file may add
pilot_types                      the pilot types of a site
slurm_facts, site_check, site_template   facts of a cluster; check or create a site file by them
"""
