#!/bin/sh
# mmdebstrap hook: what maintainer scripts, which the extract variant does not run, would do.
set -e
cd "$1"
ln -sf gawk usr/bin/awk
ln -sf which.debianutils usr/bin/which
for libraries in usr/lib/*-linux-gnu; do
  for name in blas lapack; do ln -sf "$name/lib$name.so.3" "$libraries/lib$name.so.3"; done
done
cp usr/lib/R/etc/Renviron.ucf etc/R/Renviron
mkdir -p tmp srv root home etc
echo localpool-job > etc/job-image
printf 'root:x:0:0:root:/root:/bin/bash\nnobody:x:65534:65534:nobody:/nonexistent:/bin/false\n' > etc/passwd
printf 'root:x:0:\nnogroup:x:65534:\n' > etc/group
# a job's image travels with the job: what neither mapping, calling nor plotting reads stays out
# (scipy and sympy only serve fonttools' own commands, scripts of web pages only R Markdown's HTML)
python=usr/lib/python3/dist-packages
rm -rf usr/share/unicode usr/bin/*-debug usr/lib/*-linux-gnu/gconv var/cache/apt var/lib/apt/lists \
  $python/scipy $python/sympy $python/mpmath usr/share/javascript usr/share/nodejs
find $python -type d -name tests -prune -exec rm -rf {} +
