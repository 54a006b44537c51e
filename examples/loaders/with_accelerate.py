"""accelerate, which shares out batches: torchrun --nproc-per-node 2 with_accelerate.py CORPUS"""

import itertools
import sys

import torch
from accelerate import Accelerator
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader

import ostraca

accelerator = Accelerator(cpu=True)
stream = ostraca.open_stream(sys.argv[1], batch_size=8, length=128)
size = stream.source.vocab_size
model = torch.nn.Sequential(torch.nn.Embedding(size, 32), torch.nn.Linear(32, size))
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
# Single lines of the whole batch, which prepare() shares out: as many a process as its share of batch_size.
loader = DataLoader(stream.rows(), batch_size=8 // accelerator.num_processes)
model, optimizer, loader = accelerator.prepare(model, optimizer, loader)
for step, batch in enumerate(itertools.islice(loader, 6)):
    logits = model(batch["input_ids"])
    loss = cross_entropy(logits[:, :-1].flatten(0, 1), batch["labels"][:, 1:].flatten())
    accelerator.backward(loss)
    optimizer.step()
    optimizer.zero_grad()
    lines = accelerator.gather(batch["input_ids"])  # of all processes: the stream's own batch
    print(f"step {step}: {tuple(batch['input_ids'].shape)} of {tuple(lines.shape)}, sum {lines.sum().item()}")
