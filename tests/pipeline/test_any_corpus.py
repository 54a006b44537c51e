"""Whatever `build` accepts goes all the way: verified, reproduced, looked at, exported, read back."""

from __future__ import annotations

import os
import random
import shutil
from pathlib import Path
from typing import Any

import pytest

from ostraca import cli
from ostraca.pipeline.export import FORMATS

DATASETS = (
    ["dataset=depo", "dataset.N=12"],
    ["dataset=brevo", "dataset.N=12"],
    ["dataset=brevo2-30"],
    ["dataset=mano", "dataset.L=3"],
    ["dataset=lano"],
    ["dataset=capo", "dataset.num_people=50", "dataset.exposures=4"],
    ["dataset=capo", "dataset.num_people=50", "dataset.exposures=4", "dataset.bio=text"],
    ["corpus=five-tasks", "tokens=20000"],
    ["corpus=depo-demo", "examples=300"],
)


def words_of(rng: random.Random) -> list[str]:
    """A corpus that somebody may ask for, with the command's defaults for all else."""
    words = list(rng.choice(DATASETS))
    if words[0].startswith("dataset") and "capo" not in words[0]:
        words += [f"examples={rng.choice([1, 3, 200, 1500])}", f"splits.test.examples={rng.choice([1, 40])}"]
    if rng.random() < 0.5:
        words += ["row_group_tokens=4000", "shard_tokens=12000"]
    words += rng.choice([[], ["format=webdataset"], ["format=webdataset", "compression=zstd"]])
    if rng.random() < 0.4:
        mode = rng.choice(["left_aligned", "whole", "best_fit", "concat"])
        words += [f"pack.length={rng.choice([50, 400, 2048])}", f"pack.mode={mode}"]
    if rng.random() < 0.5:
        words += [
            f"dedup.mode={rng.choice(['drop', 'redraw'])}",
            f"dedup.key={rng.choice(['tokens', 'content'])}",
        ]
    if rng.random() < 0.5:
        words.append(f"vocabulary={rng.choice(['shared', 'published'])}")
    if rng.random() < 0.15:
        words.append(f"part={rng.choice(['1/2', '2/2'])}")
    return words


def check(rng: random.Random, folder: Path, capsys: pytest.CaptureFixture[str]) -> bool:
    """Build one and use it; whether it was not refused. What is refused gets one line."""
    words, root = words_of(rng), folder / "c"

    def ran(*given: str) -> bool:
        status = cli.main(list(given))
        out, err = capsys.readouterr()
        assert (status, err.count("\n"), "Traceback" in out) in (
            (0, 0, False),
            (2, 1, False),
        ), (words, err)
        return status == 0

    try:
        if not ran("build", *words, f"out={root}", "engine=local"):
            return False
        assert ran("verify", f"path={root}", "content=true"), words
        assert ran("reproduce", f"path={root}"), words
        if any(word.startswith("part=") for word in words):
            return True
        assert ran("inspect", f"path={root}", "show=3"), words
        assert ran("diff", f"path={root}", f"other={root}"), words
        ran("verify", f"path={root}", "duplicates=true")  # refused where packing has cut examples
        for to in FORMATS:
            carried = ran("export", f"path={root}", f"to={to}", f"out={folder}/{to}")
            assert carried or "dataset.bio=text" in words, (words, to)
        code = (root / "README.md").read_text().split("```python\n")
        if len(code) > 1:
            lines = code[1].split("```")[0].replace("PATH", str(root)).splitlines()
            names: dict[str, Any] = {}
            exec("\n".join(line for line in lines if "datasets" not in line), names)
            assert "stream" not in names or len(next(iter(names["stream"]))) == 3, words
        return True
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.parametrize("seed", range(6))
def test_what_is_accepted_goes_all_the_way(
    seed: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = random.Random(seed)
    while not check(rng, tmp_path / "work", capsys):
        pass


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_soak_any_corpus(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng = random.Random(os.environ.get("OSTRACA_SOAK_SEED", "0"))
    built = sum(check(rng, tmp_path / "work", capsys) for _ in range(300))
    assert built > 150
