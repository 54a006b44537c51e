"""The scripts of examples/cluster, run as they are: by a real Ray, with Slurm's commands played by stubs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from harness.corpora import check_whole
from harness.isolation import alone, end_marked, mark

pytest.importorskip("ray")

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples" / "cluster"
WORDS = [
    "dataset=mano",
    "dataset.L=2",
    "examples=20000",
    "shard_tokens=30000",
    "row_group_tokens=10000",
    "report=false",
]

# Slurm's commands on this machine: both nodes of the job are here.
STUBS = {
    "scontrol": 'test "$1 $2 $3" = "show hostnames node[1-2]" && printf "node1\\nnode2\\n"',
    "srun": 'echo "$@" >> "$STUBS/srun.log"; while [[ $1 == --* ]]; do shift; done; exec "$@"',
    "hostname": "echo 127.0.0.2 fe80::1",
    "ostraca": f'exec "{sys.executable}" "{ROOT}/ostraca" "$@"',
    "python": f'exec "{sys.executable}" "$@"',
}


def run(script: str, folder: Path, name: str) -> subprocess.CompletedProcess[str]:
    """Run bash lines with the stubs first on the PATH, away from the network; all that they start ends."""
    stubs = folder / "stubs"
    stubs.mkdir(exist_ok=True)
    for command, line in STUBS.items():
        (stubs / command).write_text(f"#!/usr/bin/env bash\n{line}\n")
        (stubs / command).chmod(0o755)
    environment = {
        **os.environ,
        **mark(name),
        "PATH": f"{stubs}:{Path(sys.executable).parent}:{os.environ['PATH']}",
        "STUBS": str(stubs),
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_AUTH_MODE": "token",  # a local Ray of before may have left a token, which switches this on
        "RAY_AUTH_TOKEN": "5" * 64,
        "PYTHONWARNINGS": "",
    }
    try:
        return subprocess.run(
            [*alone(), "bash", "-euo", "pipefail", "-c", script],
            env=environment,
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
            timeout=100,
        )
    finally:
        end_marked(name)


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("reference") / "corpus"
    command = [sys.executable, str(ROOT / "ostraca"), "build", *WORDS, f"out={root}", "engine=local"]
    subprocess.run(command, check=True, capture_output=True)
    return root


def test_slurm_script_builds_and_stops_all(tmp_path: Path, reference: Path) -> None:
    """A head and a worker start on the nodes of the job, the corpus is built, both are stopped."""
    name = f"slurm-{tmp_path}"
    script = f"""
export SLURM_JOB_NODELIST='node[1-2]' SLURM_JOB_ID=4711 SLURM_CPUS_PER_TASK=1
{EXAMPLES}/slurm.sbatch {" ".join(WORDS)} out={tmp_path}/corpus
! pgrep -l '^(raylet|gcs_server|ray)$'
"""
    done = run(script, tmp_path, name)
    print(done.stdout, done.stderr)
    assert done.returncode == 0
    assert "content digest" in done.stdout
    check_whole(tmp_path / "corpus", reference)
    asked = (tmp_path / "stubs" / "srun.log").read_text().splitlines()
    assert done.stdout.count("Ray runtime started") == 2
    resolve, *starts, build = asked
    assert "--nodelist=node1 hostname --ip-address" in resolve
    head, worker = sorted(starts, key=lambda line: "--head" not in line)  # both start at once, in any order
    assert "--nodelist=node1 " in head
    assert "ray start --block --head --node-ip-address=127.0.0.2 --port=24711 --num-cpus=1" in head
    assert "--nodelist=node2 " in worker
    assert "ray start --block --address=127.0.0.2:24711 --num-cpus=1" in worker
    assert "--nodelist=node1 " in build
    assert "ray.address=127.0.0.2:24711" in build


def test_ray_job_submit(tmp_path: Path, reference: Path) -> None:
    """The repository is sent to a running cluster, the job builds there, and its words come back."""
    script = f"""
ray start --head --node-ip-address=127.0.0.2 --port=26379 --num-cpus=2 \
    --include-dashboard=true --dashboard-host=127.0.0.1 --dashboard-port=28265 >&2
export RAY_API_SERVER_ADDRESS=http://127.0.0.1:28265
{EXAMPLES}/ray_job.sh {" ".join(WORDS)} out={tmp_path}/corpus
"""
    done = run(script, tmp_path, f"job-{tmp_path}")
    assert done.returncode == 0, (done.stdout[-3000:], done.stderr[-3000:])
    assert "content digest" in done.stdout
    check_whole(tmp_path / "corpus", reference)
