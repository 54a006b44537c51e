#!/usr/bin/env bash
# Build a corpus as a job of a Ray cluster that runs already:
#
#   RAY_API_SERVER_ADDRESS=http://HEAD:8265 examples/cluster/ray_job.sh corpus=depo1 out=/shared/depo1
#
# The words are those of `ostraca build`. out= must be seen by every node: a shared file system, or a store
# (s3://...). This repository is sent along; the nodes need its dependencies only (pip install -e . once in
# the image, or in the environment of their Ray). Killed or stopped, the same call goes on.
set -euo pipefail

if [[ $# -eq 0 ]]; then
    echo "usage: ray_job.sh corpus=NAME out=FOLDER [key=value ...]" >&2
    exit 2
fi
repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
: "${RAY_API_SERVER_ADDRESS:=http://127.0.0.1:8265}"

exec ray job submit \
    --address "$RAY_API_SERVER_ADDRESS" \
    --working-dir "$repository" \
    --runtime-env-json '{"excludes": [".git", ".venv", "corpora", "demo", "exports", "runs"]}' \
    -- python ostraca build "$@" ray.address=auto
