"""Read a folder of items with litData's StreamingDataset, and write it again: FOLDER AGAIN OUT.json."""

import json
import sys

from litdata import StreamingDataset
from litdata.streaming.writer import BinaryWriter

folder, again, out = sys.argv[1:]
with open(f"{folder}/index.json") as file:
    config = json.load(file)["config"]
items = list(StreamingDataset(folder, shuffle=False))
by_index = StreamingDataset(folder)

writer = BinaryWriter(again, chunk_bytes=config["chunk_bytes"])
for place, item in enumerate(items):
    writer[place] = item
writer.done()
writer.merge()

found = {
    "documents": [item["input_ids"].tolist() for item in items],
    "masks": [item["loss_mask"].tolist() for item in items],
    "starts": [item["starts"].tolist() for item in items if "starts" in item],
    "dtypes": sorted({f"{item['input_ids'].dtype} {item['loss_mask'].dtype}" for item in items}),
    "last": by_index[len(items) - 1]["input_ids"].tolist(),
}
with open(out, "w") as file:
    json.dump(found, file)
