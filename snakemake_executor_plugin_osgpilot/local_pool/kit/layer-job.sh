#!/bin/bash
# Build step: the image that jobs run in; $1 is the name of the unpacked tree.
set -euo pipefail
printf 'Bootstrap: localimage\nFrom: /run/images/%s\n%%environment\n    export LC_ALL=C.UTF-8\n' "$1" > /tmp/job.def
mkdir -p /run/out/tmp
export APPTAINER_TMPDIR=/run/out/tmp APPTAINER_CACHEDIR=/run/out/tmp
apptainer build --force --mksquashfs-args "-comp zstd -Xcompression-level 6" /run/out/job.sif /tmp/job.def
rm -rf /run/out/tmp
