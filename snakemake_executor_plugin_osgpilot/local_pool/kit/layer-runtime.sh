#!/bin/bash
# Build step: the image in which jobs start Snakemake; of the hosts' Debian and of /opt/venv, which
# this step sees, it takes what that needs.
set -euo pipefail
tree=/run/out/tmp/tree site=usr/local/lib/python3.13/dist-packages
mkdir -p "$tree/$site"

# libstdc++6 is for the solver of Snakemake's scheduler
programs=(python3 bash coreutils dash environment-modules findutils grep gzip hostname libc-bin libstdc++6
  mawk procps rsync sed tar)
only_to_install=(debconf dpkg init-system-helpers tzdata)
not_read='^/usr/(share/(bash-completion|doc|info|lintian|locale|man)|lib/[^/]*/gconv)/'
apt-cache depends --recurse --installed --no-recommends --no-suggests --no-conflicts --no-breaks \
  --no-replaces --no-enhances "${programs[@]}" | grep '^[a-z]' | sort -u |
  grep -vxF "$(printf '%s\n' "${only_to_install[@]}")" | xargs dpkg -L | grep '^/' | sort -u |
  grep -vE "$not_read" | while IFS= read -r path; do
    if [ -e "$path" ] || [ -L "$path" ]; then echo ".$path"; fi
  done > /tmp/files
tar -C / -c --no-recursion -T /tmp/files | tar -C "$tree" -x
# with its bytecode, which no package lists
cp -a /usr/lib/python3.13 "$tree/usr/lib/"

# as `osgpilot runtime build` does: Snakemake and the storage plugins that are installed; and what notebooks and conda need
mapfile -t packages < <(/opt/venv/bin/pip list --format=freeze | grep -oE '^snakemake(-storage-plugin-[a-z0-9-]+)?==' | tr -d =)
/opt/venv/bin/python /run/kit/runtime-packages.py "${packages[@]}" papermill ipykernel py-rattler > /tmp/files
tar -C "$(/opt/venv/bin/python -c 'import site; print(site.getsitepackages()[0])')" \
  -c --no-recursion -T /tmp/files | tar -C "$tree/$site" -x
rm -rf "$tree"/usr/lib/python3.13/{test,pydoc_data} \
  "$tree/$site"/{debugpy,pulp/tests,sqlalchemy/testing} "$tree/$site"/pulp/solverdir/cbc/{osx,win}
# solvers for other machines
for solver in "$tree/$site"/pulp/solverdir/cbc/linux/*; do
  "$solver/cbc" quit > /dev/null 2>&1 || rm -rf "$solver"
done

cd "$tree"
# rattler does not begin without
install -Dm644 /etc/ssl/certs/ca-certificates.crt etc/ssl/certs/ca-certificates.crt
ln -sf mawk usr/bin/awk
ln -s python3 usr/bin/python
ln -s which.debianutils usr/bin/which
mkdir -p usr/local/bin
printf '#!/bin/sh\nexec python3 -m papermill "$@"\n' > usr/local/bin/papermill
install -m755 /run/kit/conda usr/local/bin/conda
install -m644 /run/kit/conda-activate usr/local/bin/activate
chmod 755 usr/local/bin/papermill
mkdir -p dev etc home proc root srv sys tmp
printf 'root:x:0:0:root:/root:/bin/bash\nnobody:x:65534:65534:nobody:/nonexistent:/bin/false\n' > etc/passwd
printf 'root:x:0:\nnogroup:x:65534:\n' > etc/group
cd /

printf 'Bootstrap: localimage\nFrom: %s\n%%%%environment\n    export LC_ALL=C.UTF-8 BASH_ENV=%s\n' \
  "$tree" /usr/share/modules/init/bash > /tmp/runtime.def
export APPTAINER_TMPDIR=/run/out/tmp APPTAINER_CACHEDIR=/run/out/tmp
apptainer build --force --mksquashfs-args "-comp zstd -Xcompression-level 6" /run/out/runtime.sif /tmp/runtime.def
rm -rf /run/out/tmp
