#!/usr/bin/env bash
# A worker pod of an MPIJob: sshd, by which the launcher starts the ranks. What the pod was given in its environment
# (GPUs, driver paths, NCCL, Open MPI) would be lost to a login; it is handed on.
set -euo pipefail
config=$(mktemp "${TMPDIR:-/tmp}/sshd_config-XXXXXX")
cp "$HOME/.sshd_config" "$config"
handed=()
while IFS='=' read -r -d '' name value; do
  case $name in
    CUDA_* | NVIDIA_* | NCCL_* | OMPI_MCA_* | UCX_* | TRIREME_* | OMP_NUM_THREADS | LD_LIBRARY_PATH | TMPDIR)
      [[ $value == *[\"$'\n']* ]] || handed+=("\"$name=$value\"") ;;
  esac
done < <(env -0)
# One line: sshd takes the first SetEnv alone.
((${#handed[@]} == 0)) || echo "SetEnv ${handed[*]}" >>"$config"
exec /usr/sbin/sshd -D -e -f "$config"
