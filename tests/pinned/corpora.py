"""One small corpus for each form that a corpus can have, as it was built once: its bytes are the law.

`python tests/pinned/corpora.py` writes them anew. That breaks everyone who cites a digest, replays a manifest
or resumes a stream: do it for a new task version or a new manifest format only, and say so in the changelog.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from pathlib import Path

from ostraca import cli

HERE = Path(__file__).parent
# Folder -> the words of `ostraca build` that make it.
CORPORA = {
    "parquet": ("corpus=five.yaml",),
    "tar": ("corpus=five.yaml", "format=webdataset", "examples=40"),
    "tar.zst": ("corpus=crowded.yaml", "format=webdataset", "compression=zstd"),
    "packed": ("corpus=five.yaml", "vocabulary=shared", "pack.length=512", "pack.mode=best_fit", "seed=1"),
    "packed-tar": ("corpus=five.yaml", "pack.length=256", "pack.mode=concat", "format=webdataset"),
    "left-aligned": ("corpus=crowded.yaml", "pack.length=32", "pack.mode=left_aligned"),
    "whole-rows": ("corpus=crowded.yaml", "pack.length=32", "pack.mode=whole"),
    "dropped": ("corpus=crowded.yaml", "dedup.mode=drop"),
    "redrawn": ("corpus=crowded.yaml", "dedup.mode=redraw", "dedup.key=content"),
    "part-1": ("corpus=five.yaml", "dedup.mode=off", "part=1/2"),
    "part-2": ("corpus=five.yaml", "dedup.mode=off", "part=2/2"),
}
# Below this folder stand some of them as an older release wrote them, with manifests of format 3: those are
# read for good, and nothing writes them anew.
FORMAT_3 = "format-3"
# Exports whose files are pinned by their digests, of these corpora.
EXPORTED = ("packed", "dropped")
FORMATS = ("megatron", "nanogpt", "olmo", "datatrove", "mds", "litdata", "litgpt", "jsonl")
# Of the folders above, joined by `ostraca merge`.
MERGED = ("part-1", "part-2")
# Tokenizers are large and stand in the manifest by their digest; pictures hang on the drawing library.
LEFT_OUT = ("tokenizers/", "tokenizer.json", "tokenizer_config.json", "report/mixture", "report/dataset")
# What a manifest says of where and when it was made.
OF_THE_MACHINE = ("created", "python", "libraries")


def words(name: str) -> list[str]:
    """The call that builds a pinned corpus, but for `out`; file names are whole."""
    asked = [word.replace("corpus=", f"corpus={HERE}/") for word in CORPORA[name]]
    return ["build", *asked, "engine=local", "report=false"]


def kept(folder: Path) -> list[str]:
    """The files of a built corpus that are pinned, by name."""
    files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return [file for file in files if not file.startswith(LEFT_OUT)]


def exported(corpus: Path, out: Path) -> dict[str, str]:
    """The SHA-256 of each data file of a corpus's exports in all formats, made below an empty folder."""
    for form in FORMATS:
        assert cli.main(["export", f"path={corpus}", f"to={form}", f"out={out / form}"]) == 0
    files = sorted(path for path in out.rglob("*") if path.is_file() and path.name != "export.json")
    return {str(path.relative_to(out)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def main() -> None:
    sums = {}
    for name in CORPORA:
        folder = HERE / name
        shutil.rmtree(folder, ignore_errors=True)
        assert cli.main([*words(name), f"out={folder}"]) == 0
        if name in EXPORTED:
            with tempfile.TemporaryDirectory() as out:
                sums[name] = exported(folder, Path(out))
        for path in sorted(folder.rglob("*"), reverse=True):
            if path.is_file() and path.relative_to(folder).as_posix() not in kept(folder):
                path.unlink()
            elif path.is_dir() and not any(path.iterdir()):
                path.rmdir()
    (HERE / "exports.json").write_text(json.dumps(sums, indent=1) + "\n")


if __name__ == "__main__":
    main()
