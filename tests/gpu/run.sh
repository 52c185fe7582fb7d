#!/bin/sh
# run.sh [RESULT.json]: judges Trireme on this machine, from the folder that pack.sh made. Needs a python3 that finds
# torch 2.11 (cu130) and, for the GPU's part, a driver; nothing else, no network. At most 8 minutes; goes on after a
# failure. Without a GPU it asks the CPU the same questions in small. PYTHON names another python3.
exec "${PYTHON:-python3}" "$(dirname "$0")/run.py" "$@"
