"""`croissant.json`: the corpus in the words of MLCommons Croissant 1.1, with which mlcroissant reads it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from ..corpus.split import SplitId
from ..spec.formats import FORMATS
from .columns import about_column, paper_of, schema_of
from .figures import keys_of, shards_of

SPECIFICATION = "http://mlcommons.org/croissant/1.1"
_SPLITS = "splits"  # the record set of their names
_TYPES = {pa.uint8(): "cr:UInt8", pa.int32(): "cr:Int32", pa.int64(): "cr:Int64", pa.string(): "sc:Text"}
_TYPES[pa.binary()] = "sc:Text"  # there is no type of bytes; what reads by it hands out the bytes of a text
# The context that the specification gives, term for term.
_TERMS = ["arrayShape", "citeAs", "column", "containedIn", "equivalentProperty", "extract", "field"]
_TERMS += ["fileProperty", "fileObject", "fileSet", "format", "includes", "isArray", "isLiveDataset"]
_TERMS += ["jsonPath", "key", "md5", "parentField", "path", "recordSet", "references", "regex", "repeated"]
_TERMS += ["replace", "samplingRate", "separator", "source", "subField", "transform"]
_CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    **{term: f"cr:{term}" for term in _TERMS},
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "description": {"@container": "@language"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "name": {"@container": "@language"},
    "sc": "https://schema.org/",
}


def make_croissant(manifest: Mapping[str, Any], samples: Mapping[SplitId, pa.RecordBatch]) -> dict[str, Any]:
    """The JSON-LD: every shard with its sha256 and, of Parquet, a record set for each dataset.

    Licence and date of publication are left out: they are for whoever publishes the corpus to say.
    """
    spec, keys = manifest["spec"], keys_of(manifest)
    paper = paper_of(manifest["tasks"])
    of = "" if paper is None else f" of {paper.title} (arXiv {paper.arxiv})"
    media_type = FORMATS[spec["format"]].media_types[spec["compression"]]
    shards = [_shard(record, media_type) for key in keys for record in shards_of(manifest, key)]
    whole: dict[str, Any] = {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": SPECIFICATION,
        "name": manifest["name"],
        "description": (
            f"Synthetic pretraining tasks ({', '.join(manifest['tasks'])}){of}, "
            f"made by Ostraca. Content digest {manifest['content_digest']}. manifest.json says how to make "
            "it again."
        ),
        # The version of the build's metadata is the content itself.
        "version": f"1.0.0+{manifest['content_digest']}",
        "citeAs": f"{manifest['name']}, an Ostraca corpus with content digest {manifest['content_digest']}",
        "keywords": ["synthetic", "pretraining", "ostraca", *manifest["tasks"]],
        "isLiveDataset": False,
        "distribution": shards,
    }
    if spec["format"] == "parquet":
        datasets = list(spec["datasets"])
        whole["distribution"] = [*shards, *map(_files, datasets)]
        whole["recordSet"] = [_splits([split for _, split in keys])]
        for dataset in datasets:
            schema = schema_of(manifest, dataset, samples)
            whole["recordSet"].append(_records(dataset, spec["datasets"][dataset]["task"], schema))
    return whole


def _node(kind: str, name: str, **more: Any) -> dict[str, Any]:
    return {"@type": f"cr:{kind}", "@id": name, "name": name, **more}


def _shard(record: Mapping[str, Any], media_type: str) -> dict[str, Any]:
    return _node(
        "FileObject",
        record["path"],
        contentUrl=record["path"],
        contentSize=f"{record['bytes']} B",
        encodingFormat=media_type,
        sha256=record["sha256"],
    )


def _files(dataset: str) -> dict[str, Any]:
    """All shards of a dataset."""
    return _node(
        "FileSet",
        f"{dataset}-shards",
        description=f"All shards of {dataset}.",
        encodingFormat=FORMATS["parquet"].media_types["zstd"],
        includes=f"{dataset}/*.parquet",
    )


def _splits(names: list[str]) -> dict[str, Any]:
    """The names of the splits, to which every row refers."""
    field = f"{_SPLITS}/name"
    return _node("RecordSet", _SPLITS, dataType="cr:Split", key={"@id": field}) | {
        "field": [{"@type": "cr:Field", "@id": field, "name": "name", "dataType": "sc:Text"}],
        "data": [{field: name} for name in dict.fromkeys(names)],
    }


def _records(dataset: str, task: str, schema: pa.Schema) -> dict[str, Any]:
    """The rows of a dataset: which split they are of, and a field for each column."""
    records, shards = f"{dataset}-rows", {"fileSet": {"@id": f"{dataset}-shards"}}
    split = {
        "description": "the split that the row is of",
        "dataType": "sc:Text",
        "references": {"field": {"@id": f"{_SPLITS}/name"}},
        "source": {
            **shards,
            "extract": {"fileProperty": "fullpath"},
            "transform": {"regex": r"(?:.*/)?([a-z0-9_]+?)(?:-[0-9]+-of-[0-9]+\.parquet)?$"},
        },
    }
    fields: list[tuple[str, dict[str, Any]]] = [("split", split)]
    for column in schema:
        listed = pa.types.is_list(column.type)
        field = {
            "description": about_column(task, column.name, schema) or column.name,
            "dataType": _TYPES[column.type.value_type if listed else column.type],
            "source": {**shards, "extract": {"column": column.name}},
        }
        fields.append((column.name, field | ({"isArray": True, "arrayShape": "-1"} if listed else {})))
    nodes = [_node("Field", f"{records}/{name}") | {"name": name} | field for name, field in fields]
    return _node("RecordSet", records, field=nodes)
