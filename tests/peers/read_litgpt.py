"""Read a folder of ids as litgpt does, with litData's TokensLoader, and write it again.

FOLDER AGAIN OUT.json BLOCK, then the documents' lengths as JSON: a TokensLoader does not know them.
"""

import json
import sys

import torch
from litdata import StreamingDataLoader, StreamingDataset, TokensLoader
from litdata.streaming.writer import BinaryWriter

if __name__ == "__main__":
    folder, again, out, block, lengths = sys.argv[1:]
    with open(f"{folder}/index.json") as file:
        config = json.load(file)["config"]

    def read(size: int) -> StreamingDataset:
        return StreamingDataset(folder, item_loader=TokensLoader(block_size=size), shuffle=False)

    loader = StreamingDataLoader(read(int(block)), batch_size=4, num_workers=2)
    batches = [batch.long().tolist() for batch in loader]

    # Blocks of one id are all ids, whatever the chunks.
    flat = torch.cat(list(read(1)))
    writer = BinaryWriter(again, chunk_bytes=config["chunk_bytes"], item_loader=TokensLoader())
    for place, document in enumerate(torch.split(flat, json.loads(lengths))):
        writer[place] = document
    writer.done()
    writer.merge()

    found = {
        "blocks": [ids.tolist() for ids in read(int(block))],
        "batches": [row for batch in batches for row in batch],
        "flat": flat.tolist(),
        "dtype": str(flat.dtype),
    }
    with open(out, "w") as file:
        json.dump(found, file)
