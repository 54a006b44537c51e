"""Read a .ds file with datatrove's dataset (nanotron's too), and write it again.

FILE AGAIN OUT.json BLOCK: blocks of so many ids, with the place of each id in its document or block. The
package writes loss files and does not read them: the test compares the bytes.
"""

import json
import os
import sys

import numpy as np
from datatrove.pipeline.tokens.tokenizer import TokenizedFile
from datatrove.utils.dataset import DatatroveFileDataset

path, again, out, block = sys.argv[1:]
with open(f"{path}.metadata") as file:
    name, _, size = file.readline().strip().partition("|")
dataset = DatatroveFileDataset(path, int(block) - 1, token_size=int(size), return_positions=True)
windows = [dataset[item] for item in range(len(dataset))]

single = DatatroveFileDataset(path, 0, token_size=int(size))
flat = np.array([int(single[item]["input_ids"][0]) for item in range(len(single))])
ends = np.fromfile(f"{path}.index", dtype=np.uint64).astype(int)
loss = np.fromfile(f"{path}.loss", dtype=bool)

os.mkdir(again)
written = TokenizedFile(
    again,
    os.path.basename(path),
    save_loss_metadata=True,
    save_final_metadata=True,
    tokenizer_name_or_path=name,
    token_size=int(size),
)
for start, end in zip([0, *ends[:-1]], ends, strict=True):
    written.write(flat[start:end].tolist(), loss[start:end])
written.close()

found = {
    "windows": [window["input_ids"].tolist() for window in windows],
    "positions": [window["positions"].tolist() for window in windows],
    "flat": flat.tolist(),
}
with open(out, "w") as file:
    json.dump(found, file)
