#!/bin/bash
# pool-accounting: Slurm's accounting with accounts, QOS and limits, as most clusters have it. Run as
# root on login. Users need an account from then on; jobs that run stay.
#   accounts  lab (alice, bob, root; the default), lab_g (alice, in the partition short alone)
#   QOS       normal, small (at most 2 cores of a user at a time)
set -euo pipefail
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
[ "$(id -u)" = 0 ] || { echo "pool-accounting: run it as root" >&2; exit 1; }

# sacctmgr reads it, too
sed -i '/^AccountingStorage/d' /etc/slurm/slurm.conf
cat >> /etc/slurm/slurm.conf <<'CONF'
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=login
AccountingStorageEnforce=associations,limits,qos
CONF
pool-svc mariadb start
pool-svc slurmdbd start
manage() { sacctmgr --immediate --quiet "$@"; }
manage add cluster localpool
manage add qos small set MaxTRESPerUser=cpu=2
manage add account lab cluster=localpool
manage add account lab_g parent=lab cluster=localpool
for user in root alice bob; do
  manage add user "$user" account=lab cluster=localpool qos=normal,small defaultqos=normal
done
manage add user alice account=lab_g cluster=localpool partition=short qos=normal defaultqos=normal

# the id of the cluster is that in the database from now on
pool-svc slurmctld stop
rm -f /var/spool/slurmctld/clustername
pool-svc slurmctld start
for _ in $(seq 300); do
  timeout 20 sinfo --noheader --format=%T 2> /dev/null | grep -q idle && exit
  sleep 0.1
done
echo "pool-accounting: Slurm does not come back" >&2
exit 1
