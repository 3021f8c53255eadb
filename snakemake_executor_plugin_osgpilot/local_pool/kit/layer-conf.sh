#!/bin/bash
# Build step: the configuration of the two hosts, in a layer above the packages.
set -euo pipefail
KIT=/run/kit

for user in alice:2001 bob:2002; do
  name=${user%:*} id=${user#*:}
  echo "$name:x:$id:$id:$name:/home/$name:/bin/bash" >> /etc/passwd
  echo "$name:x:$id:" >> /etc/group
  echo "$name:*:19000:0:99999:7:::" >> /etc/shadow
done

# working folders may lie below it
chmod 711 /root

mkdir -p /etc/slurm /var/spool/slurmctld /var/log/slurm
cp "$KIT/hosts/slurm.conf" /etc/slurm/
install -m755 "$KIT/hosts/epilog.sh" /etc/slurm/
: > /etc/slurm/plugstack.conf      # Debian's includes a folder that makes sbatch complain
echo 'CgroupPlugin=disabled' > /etc/slurm/cgroup.conf
# Slurm wants a file for every GPU; HTCondor in a pilot can simulate devices (condor_gpu_discovery)
printf 'NodeName=n[1-4] Name=gpu File=/dev/%s\n' null zero > /etc/slurm/gres.conf

# Slurm's accounting: nothing of it runs before `pool-accounting`
cp "$KIT/hosts/mariadb.conf" /etc/slurm/
install -m600 "$KIT/hosts/slurmdbd.conf" /etc/slurm/
install -m755 "$KIT/hosts/accounting.sh" /usr/local/sbin/pool-accounting
mariadb-install-db --defaults-file=/etc/slurm/mariadb.conf --skip-test-db > /dev/null

rm -f /etc/condor/config.d/*
mkdir -p /etc/condor/roles
cp "$KIT/hosts/condor-common.conf" /etc/condor/config.d/10-common.conf
cp "$KIT/hosts/condor-schedd.conf" /etc/condor/config.d/20-schedd.conf
cp "$KIT/hosts/condor-ap.conf" /etc/condor/roles/ap.conf
cp "$KIT/hosts/condor-login.conf" /etc/condor/roles/login.conf

cp "$KIT/hosts/sshd.conf" /etc/ssh/sshd_config.d/10-pool.conf
rm -f /etc/ssh/ssh_host_*          # created at every `up`

printf '127.0.0.1 localhost\n10.99.0.1 ap.localpool ap\n10.99.0.2 login.localpool login\n' \
  > /etc/hosts
# without name service a look-up of an unknown name would wait for a time-out
sed -i 's/^hosts:.*/hosts: files/' /etc/nsswitch.conf
: > /etc/resolv.conf
ln -sf ../usr/share/zoneinfo/UTC /etc/localtime
install -m755 "$KIT/pool-svc" /usr/local/sbin/pool-svc

# reads and genome that Debian ships with bowtie2, under plain names
examples=/usr/share/doc/bowtie2/examples
data=/opt/data/bowtie2-examples
mkdir -p /opt/sif /opt/osgpilot "$data"
gunzip -c "$examples/reference/lambda_virus.fa.gz" > "$data/lambda_virus.fa"
cp "$examples"/reads/{reads_1,reads_2,longreads}.fq.gz "$data/"
