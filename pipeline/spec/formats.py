"""The formats of shards: a record each, and the one place that lists them. A new format is one more record.

What writes and reads a format's files stands in a module of its own, which is loaded where it is needed: see
`pipeline.corpus.formats` for what must be in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

_MODULES = "ostraca.pipeline.corpus.formats"


@dataclass(frozen=True, kw_only=True)
class Format:
    """A format of shards."""

    suffixes: Mapping[
        str, str
    ]  # how its files may be compressed, the default first -> the end of their names
    media_types: Mapping[str, str]  # the same -> what such a file is to the web
    writer: str  # the module with `open_writer`
    reader: str  # the module with `SHARDS`
    # Compressions that Hugging Face's `datasets` reads.
    for_datasets: tuple[str, ...]


FORMATS = {
    "parquet": Format(
        suffixes={"zstd": "parquet"},
        media_types={"zstd": "application/x-parquet"},
        writer=f"{_MODULES}.parquet",
        reader=f"{_MODULES}.parquet_reader",
        for_datasets=("zstd",),
    ),
    "webdataset": Format(
        suffixes={"none": "tar", "zstd": "tar.zst"},
        media_types={"none": "application/x-tar", "zstd": "application/zstd"},
        writer=f"{_MODULES}.webdataset",
        reader=f"{_MODULES}.webdataset_reader",
        for_datasets=("none",),
    ),
}
SUFFIXES = tuple(suffix for form in FORMATS.values() for suffix in form.suffixes.values())


def suffix_of(form: str, compression: str) -> str:
    """The end of the names of such shards."""
    return FORMATS[form].suffixes[compression]
