#!/bin/bash
# Build step: the pilot image, that is the host tree without Slurm and sshd, and with the entry
# point that honours the environment contract of the OSG pilot container.
set -euo pipefail
KIT=/run/kit
rm -rf /usr/sbin/*slurm* /usr/lib/*/slurm* /usr/bin/{sbatch,srun,salloc,scancel,sinfo,squeue,scontrol} \
  /usr/sbin/sshd /usr/bin/docker-registry /etc/ssh /etc/slurm /usr/share/doc/*
rm -f /etc/condor/config.d/*
mkdir -p /usr/local/libexec
cp "$KIT/pilot/50-pilot.conf" /etc/condor/config.d/
install -m755 "$KIT/pilot/entry" /usr/local/sbin/pilot-entry
install -m755 "$KIT/pilot/advertise-base" "$KIT/pilot/copy-logs" "$KIT/pilot/master-shutdown" /usr/local/sbin/
install -m755 "$KIT/pilot/prepare-hook" /usr/local/libexec/
install -m644 "$KIT/pilot/supervisord.conf" /etc/supervisord.conf
# for a test that asks for it: it would make every start of a job later
install -m755 "$KIT/pilot/pelican-plugin" /usr/local/libexec/
mkdir -p /pilot /etc/osg /etc/pki/rsyslog /srv

# an authority whose key is in the image: a test makes its server one that pilots trust
authority=/etc/ssl/localpool
mkdir "$authority"
openssl req -x509 -newkey rsa:2048 -nodes -days 3650 -subj "/CN=local pool" \
  -addext keyUsage=critical,keyCertSign -keyout "$authority/ca.key" -out "$authority/ca.crt"
chmod 644 "$authority/ca.key"
cat "$authority/ca.crt" >> /etc/ssl/certs/ca-certificates.crt

mkdir -p /run/out/tmp
export APPTAINER_TMPDIR=/run/out/tmp APPTAINER_CACHEDIR=/run/out/tmp
# Debian's condor lacks exit_37.sif; the startd must see it run before it advertises HasSIF,
# and without HasSIF no container job with a .sif ever matches
apptainer build --force /usr/libexec/condor/exit_37.sif /usr/libexec/condor/singularity_test_sandbox
cat > /tmp/pilot.def <<D
Bootstrap: localimage
From: /run/tree
%environment
    export LC_ALL=C.UTF-8
%runscript
    exec /usr/local/sbin/pilot-entry "\$@"
D
mkdir /run/tree
mount --bind / /run/tree
apptainer build --force --mksquashfs-args "-comp lz4" /run/out/pilot.sif /tmp/pilot.def
rm -rf /run/out/tmp
