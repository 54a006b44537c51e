"""Plain PyTorch and DDP: torchrun --nproc-per-node 2 ddp.py CORPUS"""

import itertools
import sys

import torch
import torch.distributed as dist
from torch.nn.functional import cross_entropy
from torch.nn.parallel import DistributedDataParallel

import ostraca

dist.init_process_group("gloo")  # nccl on GPUs
# batch_size is of all ranks together; each rank gets its own lines.
stream = ostraca.open_stream(sys.argv[1], batch_size=8, length=128, epochs=1, device="cpu")
torch.manual_seed(0)
model = torch.nn.Sequential(
    torch.nn.Embedding(stream.source.vocab_size, 32), torch.nn.Linear(32, stream.source.vocab_size)
)
model = DistributedDataParallel(model)
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
for step, batch in enumerate(itertools.islice(stream, 20)):
    logits = model(batch["input_ids"])
    loss = cross_entropy(logits[:, :-1].flatten(0, 1), batch["labels"][:, 1:].flatten())
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if step == 10:  # the same on every rank; go on at any world size with stream.load_state_dict
        torch.save({"model": model.module.state_dict(), "data": stream.state_dict()}, sys.argv[2])
print(f"rank {dist.get_rank()}: {stream.step} steps, loss {loss.item():.2f}")
dist.destroy_process_group()
