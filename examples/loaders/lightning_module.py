"""Lightning: python lightning_module.py CORPUS"""

import sys

import lightning
import torch
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader

import ostraca


class Model(lightning.LightningModule):
    def __init__(self, corpus):
        super().__init__()
        self.corpus = corpus
        size = ostraca.CorpusSource(corpus).vocab_size
        self.net = torch.nn.Sequential(torch.nn.Embedding(size, 32), torch.nn.Linear(32, size))

    def train_dataloader(self):  # made here, the stream knows its rank in every process
        stream = ostraca.open_stream(self.corpus, batch_size=8, length=128)
        return DataLoader(stream.dataset(), batch_size=None)

    def training_step(self, batch, _):
        logits = self.net(batch["input_ids"])
        return cross_entropy(logits[:, :-1].flatten(0, 1), batch["labels"][:, 1:].flatten())

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), lr=1e-2)


quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
trainer = lightning.Trainer(max_steps=6, accelerator="cpu", devices=1, **quiet)
trainer.fit(Model(sys.argv[1]))
print(f"{trainer.global_step} steps")
