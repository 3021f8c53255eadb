"""Images that are made here, for what rules need where they run.

build, definition  an image with Snakemake (`osgpilot runtime build`)
environment        the Python environment of this process
conda              environments of conda; how a job activates them
received           the archive of an environment that a job made
packing            build such an image from files, once (cached: list and remove them)
published          images that are somewhere else, too, from where pilots fetch them
probe              check programs in an image
"""
