"""What tasks, columns and splits are, in a line each, for first-time readers."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

import pyarrow as pa

from ...tasks import get_task
from ...tasks.base import Paper
from ..corpus.formats.parquet_mask import stored_schema
from ..corpus.records import FORMAT_VERSION
from ..corpus.split import SplitId
from .figures import keys_of

_COLUMNS = {
    "input_ids": "the tokens",
    "loss_mask": "1 where a token is in the loss, 0 where it is only read",
    "index": "the example's address in its split, from 0",
    "offset": "which of the first document's tokens the row begins with",
    "starts": "where in the row each document begins",
    "documents": "the index of each document in the row",
}


def schema_of(
    manifest: Mapping[str, Any], dataset: str, samples: Mapping[SplitId, pa.RecordBatch]
) -> pa.Schema:
    """The columns of a dataset's files: those of a sample, where there is one, else of its task."""
    entry = manifest["spec"]["datasets"][dataset]
    first = next(iter(entry["splits"].values()))
    keys = (key for key in keys_of(manifest) if key[0] == dataset and key in samples)
    key = next(keys, None)
    schema = get_task(entry["task"]).schema(first["config"]) if key is None else samples[key].schema
    as_bytes = manifest["spec"]["format"] == "parquet" and manifest["format_version"] >= FORMAT_VERSION
    return stored_schema(schema) if as_bytes else schema


def about_task(name: str) -> str:
    """What a task asks of a model, its name first."""
    return f"{name.capitalize()}: {get_task(name).about}"


def paper_of(names: Iterable[str]) -> Paper | None:
    """The paper that all these tasks are from; None where one is of no paper or another's."""
    papers = {get_task(name).paper for name in names}
    return papers.pop() if len(papers) == 1 else None


def sources(names: Collection[str], mark: str = "") -> str:
    """Which papers these tasks are from, a sentence each; `mark` stands on both sides of a title."""
    papers: dict[Paper, list[str]] = {}
    for name in names:
        paper = get_task(name).paper
        if paper is not None:
            papers.setdefault(paper, []).append(name)
    lines = []
    for paper, of in papers.items():
        which = f"The tasks {', '.join(of)} are those" if len(of) > 1 else f"The task {of[0]} is that"
        which = "The tasks are those" if len(of) == len(names) else which
        lines.append(f"{which} of {mark}{paper.title}{mark} (arXiv {paper.arxiv}).")
    return " ".join(lines)


def about_column(task: str, name: str, schema: pa.Schema) -> str:
    """What a column of a schema holds; nothing where it is not known."""
    if name == "index" and "documents" in schema.names:
        return "the address, in its split, of the row's first document"
    about = get_task(task).columns.get(name) or _COLUMNS.get(name, "")
    return f"a byte a token: {about}" if pa.types.is_binary(schema.field(name).type) else about


def columns_of(
    manifest: Mapping[str, Any], dataset: str, samples: Mapping[SplitId, pa.RecordBatch]
) -> list[tuple[str, str, str]]:
    """(name, type, what it holds) of each column of a dataset's shards; a type is, e.g., "list of int32"."""
    schema, columns = schema_of(manifest, dataset, samples), []
    for field in schema:
        written = f"list of {field.type.value_type}" if pa.types.is_list(field.type) else str(field.type)
        about = about_column(manifest["spec"]["datasets"][dataset]["task"], field.name, schema)
        columns.append((field.name, written, about))
    return columns
