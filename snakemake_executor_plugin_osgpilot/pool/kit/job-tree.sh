#!/bin/sh
# mmdebstrap hook: what maintainer scripts, which the extract variant does not run, would do.
set -e
cd "$1"
ln -sf gawk usr/bin/awk
for libraries in usr/lib/*-linux-gnu; do
  for name in blas lapack; do ln -sf "$name/lib$name.so.3" "$libraries/lib$name.so.3"; done
done
mkdir -p tmp srv root home etc
echo localpool-job > etc/job-image
printf 'root:x:0:0:root:/root:/bin/bash\nnobody:x:65534:65534:nobody:/nonexistent:/bin/false\n' > etc/passwd
printf 'root:x:0:\nnogroup:x:65534:\n' > etc/group
rm -rf usr/share/unicode    # 40 MB of tables that nothing here reads
