"""Read a .bin and .idx with Megatron Core, and write them again: STEM AGAIN OUT.json."""

import itertools
import json
import os
import sys

import numpy as np
import torch
from megatron.core.datasets.indexed_dataset import IndexedDataset, IndexedDatasetBuilder

stem, again, out = sys.argv[1:]
dataset = IndexedDataset(stem, mmap=True)
documents = [dataset[index] for index in range(len(dataset))]

os.mkdir(again)
builder = IndexedDatasetBuilder(f"{again}/data.bin", dtype=dataset.index.dtype)
for first, last in itertools.pairwise(dataset.document_indices):
    sequences = documents[first:last]
    joined = np.concatenate(sequences)
    builder.add_document(torch.from_numpy(joined), [len(sequence) for sequence in sequences])
builder.finalize(f"{again}/data.idx")

found = {
    "documents": [document.tolist() for document in documents],
    "dtypes": sorted({str(document.dtype) for document in documents}),
    "lengths": dataset.sequence_lengths.tolist(),
    "document_indices": dataset.document_indices.tolist(),
}
with open(out, "w") as file:
    json.dump(found, file)
