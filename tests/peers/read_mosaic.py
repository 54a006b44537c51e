"""Read an MDS folder with mosaicml-streaming, and write it again: FOLDER AGAIN OUT.json."""

import json
import sys
from unittest.mock import MagicMock

# For pictures; it needs torchvision, which would bring another PyTorch along.
sys.modules["streaming.vision"] = MagicMock()

from streaming import MDSWriter, StreamingDataset  # noqa: E402
from torch.utils.data import DataLoader  # noqa: E402

folder, again, out = sys.argv[1:]
with open(f"{folder}/index.json") as file:
    shards = json.load(file)["shards"]
dataset = StreamingDataset(local=folder, shuffle=False, batch_size=1, validate_hash="sha256")
samples = [dataset[index] for index in range(dataset.size)]
epoch = [batch[0]["tokens"].tolist() for batch in DataLoader(dataset, batch_size=1, collate_fn=list)]

columns = dict(zip(shards[0]["column_names"], shards[0]["column_encodings"], strict=True))
settings = {"hashes": shards[0]["hashes"], "size_limit": shards[0]["size_limit"]}
with MDSWriter(out=again, columns=columns, **settings) as writer:
    for sample in samples:
        writer.write(sample)

found = {
    "documents": [sample["tokens"].tolist() for sample in samples],
    "masks": [sample["loss_mask"].tolist() for sample in samples],
    "starts": [sample["starts"].tolist() for sample in samples if "starts" in sample],
    "dtypes": sorted({f"{sample['tokens'].dtype} {sample['loss_mask'].dtype}" for sample in samples}),
    "epoch": epoch,
}
with open(out, "w") as file:
    json.dump(found, file)
