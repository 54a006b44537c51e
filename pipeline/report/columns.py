"""What tasks, columns and splits are, in a line each, for whoever meets a corpus first."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from ...tasks import get_task

PAPER = "Physics of Language Models: Part 4.1, Architecture Design and the Magic of Canon Layers"
_TASKS = {
    "depo": "reason deep: which word comes k steps on, around a directed cycle of n words?",
    "brevo": "reason broad: all nodes that reach this one, in a topological order",
    "mano": "manipulate knowledge: the value of an expression modulo a prime, without writing steps",
    "lano": "find structure: sentences of a layered, ambiguous context-free grammar",
    "capo": "store knowledge: paragraphs on people, each person many times in other words",
}
_COLUMNS = {
    "input_ids": "the tokens",
    "loss_mask": "1 where a token is learned, 0 where it is only read",
    "index": "the example's address in its split, from 0",
    "text": "the paragraph",
    "offset": "which of the first document's tokens the row begins with",
    "starts": "where in the row each document begins",
    "documents": "the index of each document in the row",
}
_OF_TASKS = {
    "depo": {
        "n": "words in the cycle",
        "query_hops": "steps that each question asks for",
        "answer_starts": "first token of each answer, after <ans>",
        "answer_ends": "one past its last token",
    },
    "brevo": {
        "n": "nodes of the graph",
        "edges": "its edges",
        "depth": "edges on the shortest way from the query to a leaf",
        "answer_length": "nodes in the answer, the query too",
        "answer_start": "first token of the answer, after <ans>",
        "answer_end": "one past its last token: where <eos> stands",
    },
    "mano": {"length": "operators in the expression", "answer": "its value, not the value's id"},
    "lano": {"length": "terminals in the sentence"},
    "capo": {
        "person": "whose biography it is, a number in the population",
        "exposure": "the how-manieth of this person, from 0",
        "population": "the seed of the people",
        "value_starts": "first token (of a text: character) of each fact about the person",
        "value_ends": "one past its last",
        "char_starts": "the same places in the text that was encoded, in characters",
        "char_ends": "one past the last",
        "name": "the person's full name",
        "birth_date": "the day on which the person was born, as the text has it",
        "birth_city": "where",
        "university": "where the person studied",
        "major": "what",
        "employer": "whom the person works for",
        "work_city": "where, which is the employer's",
        "pronoun": "what later sentences begin with",
    },
}


def schema_of(manifest: Mapping[str, Any], dataset: str, sample: pa.RecordBatch | None = None) -> pa.Schema:
    """The columns of a dataset's shards: those of a sample, where there is one, else of its task."""
    if sample is not None:
        return sample.schema
    entry = manifest["spec"]["datasets"][dataset]
    first = next(iter(entry["splits"].values()))
    return get_task(entry["task"]).schema(first["config"])


def about_task(name: str) -> str:
    """What a task asks of a model, its name first."""
    return f"{name.capitalize()}: {_TASKS.get(name, 'a synthetic task')}"


def about_column(task: str, name: str, schema: pa.Schema) -> str:
    """What a column of a schema holds; nothing where it is not known."""
    if name == "index" and "documents" in schema.names:
        return "the address, in its split, of the row's first document"
    return _OF_TASKS.get(task, {}).get(name) or _COLUMNS.get(name, "")


def type_name(data_type: pa.DataType) -> str:
    """A column's type as one writes it: int32, list of int32."""
    if pa.types.is_list(data_type):
        return f"list of {data_type.value_type}"
    return str(data_type)
