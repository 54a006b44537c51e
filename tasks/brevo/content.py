"""What makes two examples of Brevo the same problem."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ..core.graph_content import GraphForm, graph_content


def content(batch: pa.RecordBatch, config: Mapping[str, Any]) -> NDArray[np.uint64]:
    """Fingerprints of the set of edges and the query: uint64 [rows, 2].

    The order of the edges does not count, nor does the answer, of which many orders are valid. Examples of
    two configs agree where they say the same, whatever the special ids, `qa`, `query` and the limits; but
    nodes of one token are never those of `multi`, and words agree where `mini_vocab` does.
    """
    inner = config["mini_vocab"] if config["multi"] else 0
    form = GraphForm(
        mini_vocab=inner,
        separator=-1,
        query_base=config["query_token_id"] - 1,
        queries=1,
        answers_follow=False,
    )
    return graph_content(batch, ["brevo", inner], form)
