#!/usr/bin/env bash
# The launcher pod of an MPIJob:  trireme-launcher JOB.json [more options of trireme launch]
# The hosts are those of the operator's hostfile ($OMPI_MCA_orte_default_hostfile, /etc/mpi/hostfile), which launch
# reads by itself. A pod that is Ready may not have its name in DNS yet: each is waited for, TRIREME_WAIT seconds at most.
set -euo pipefail
hostfile=${OMPI_MCA_orte_default_hostfile:-/etc/mpi/hostfile}
export OMPI_MCA_orte_default_hostfile=$hostfile
until_second=$((SECONDS + ${TRIREME_WAIT:-120}))
while read -r host _; do
  [[ -z $host || $host == \#* ]] && continue
  until answer=$(ssh -n -o BatchMode=yes -o ConnectTimeout=5 "$host" true 2>&1); do
    if ((SECONDS >= until_second)); then
      echo "worker $host cannot be reached: ${answer##*$'\n'}" >&2
      exit 69
    fi
    sleep 0.5
  done
done <"$hostfile"
exec trireme launch --metrics-listen 0.0.0.0:9500 "$@"
