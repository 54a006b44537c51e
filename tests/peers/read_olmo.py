"""Read an OLMo-core folder with OLMo-core: FOLDER WORK OUT.json DTYPE.

Its packed dataset puts whole documents together; `doc_lens` takes them apart again.
"""

import json
import sys

import numpy as np
import torch
from olmo_core.data import NumpyPackedFSLDataset
from olmo_core.data.utils import get_document_indices, load_array_slice

folder, work, out, dtype = sys.argv[1:]
path, mask_path = f"{folder}/token_ids.npy", f"{folder}/labels_mask.npy"
kind = {"uint16": np.uint16, "uint32": np.uint32}[dtype]
indices = get_document_indices(path)

longest = max(end - start for start, end in indices)
dataset = NumpyPackedFSLDataset(
    path,
    sequence_length=1 << (2 * longest).bit_length(),
    pad_token_id=0,
    eos_token_id=0,
    vocab_size=1 << 20,
    dtype=kind,
    label_mask_paths=[mask_path],
    generate_doc_lengths=True,
    use_array_if_local=False,
)
dataset.work_dir = work
dataset.prepare()
packed = []
for place in range(len(dataset)):
    item = dataset[place]
    lengths = item["doc_lens"].tolist()
    ids, masks = (torch.split(item[key], lengths) for key in ("input_ids", "label_mask"))
    packed += [[a.tolist(), b.int().tolist()] for a, b in zip(ids, masks, strict=True)]

found = {
    "documents": [load_array_slice(path, start, end, kind).tolist() for start, end in indices],
    "masks": [
        load_array_slice(mask_path, start, end, np.bool_).astype(int).tolist() for start, end in indices
    ],
    "packed": packed,
    "instances": len(dataset),
}
with open(out, "w") as file:
    json.dump(found, file)
