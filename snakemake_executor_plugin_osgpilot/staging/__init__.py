"""Turn a rule job into a folder of files for the execution point, and commit what comes back.

preparer           choose how and in which image each job runs (container_image, apptainer_args,
                   environment_modules; payload: the job as files; plain_jobs: what those of a
                   rule have in common; job_identity: how a later session knows one)
direct, scripts    run the shell command or script alone (portable_pickle, snakemake_modules;
                   python_commands: those that need the Python of Snakemake; wrapper.sh: there)
templates, cwl     render a template here; call cwltool
storage            fetch and store files by a storage plugin (storage_entry: there)
run_body           call the body of a `run:` (body_pickler, module_sources; run_entry: there)
steps              run members of a group, and benchmarked commands (steps.sh: there; benchmarks)
places             where files lie in a job's folder (path_rewriting: their names in scripts;
                   outside_folders: which folders outside of the working folder count;
                   named_files: which files there travel because the user names them)
early_values       values of rules that depend on files which do not exist yet
group_stages       split groups where such a file is made by the group itself
software           conda environments of rules, made by Snakemake's own code (conda_build: in
                   pilots)
resource_request   resources, image and pilot types that a job requests (rule_resources,
                   slurm_resources: the resources that are read)
bundle_target      which jobs may run in a bundle
transfer_policy    how each file travels (s3_keys: signed URLs)
job_archive        write the job's folder (input_files: links to inputs; shared_inputs: those that
                   go once to each pilot; input_size; workflow_sources: the workflow's own files)
returned_files     check the returned files (symlinks: their links)
commit_outputs     put them in place, all or none (ensured_outputs, updated_outputs)
output_cache       fetch them from Snakemake's cache instead, or store them there
latency_wait       wait until a shared file system shows them here
usage              CPU and wall time of a job's command
failure_message    explain why a job failed
"""
