"""Read a .bin and .idx with Megatron Core, and write them again: STEM AGAIN OUT.json."""

import json
import os
import sys

import torch
from megatron.core.datasets.indexed_dataset import IndexedDataset, IndexedDatasetBuilder

stem, again, out = sys.argv[1:]
dataset = IndexedDataset(stem, mmap=True)
documents = [dataset[index] for index in range(len(dataset))]

os.mkdir(again)
builder = IndexedDatasetBuilder(f"{again}/data.bin", dtype=dataset.index.dtype)
for document in documents:
    builder.add_document(torch.from_numpy(document.copy()), [len(document)])
builder.finalize(f"{again}/data.idx")

found = {
    "documents": [document.tolist() for document in documents],
    "dtypes": sorted({str(document.dtype) for document in documents}),
    "lengths": dataset.sequence_lengths.tolist(),
    "document_indices": dataset.document_indices.tolist(),
}
with open(out, "w") as file:
    json.dump(found, file)
