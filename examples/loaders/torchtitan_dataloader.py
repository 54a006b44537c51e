"""A data loader as torchtitan's trainer takes it: pairs of inputs and labels, with a state."""

import sys

import ostraca

IGNORED = -100


class OstracaDataLoader:
    """Iterable, with state_dict and load_state_dict: what torchtitan's BaseDataLoader asks for."""

    def __init__(self, path, *, dp_rank, dp_world_size, local_batch_size, seq_len):
        batch_size = local_batch_size * dp_world_size
        self.stream = ostraca.open_stream(
            path,
            batch_size=batch_size,
            length=seq_len + 1,
            rank=dp_rank,
            world_size=dp_world_size,
            device="cpu",
        )

    def __iter__(self):
        for batch in self.stream:  # torchtitan's loss takes labels that are shifted already
            yield {"input": batch["input_ids"][:, :-1]}, batch["labels"][:, 1:]

    def state_dict(self):
        return self.stream.state_dict()  # the same on every rank, good at any other world size

    def load_state_dict(self, state):
        if state:
            self.stream.load_state_dict(state)


loader = OstracaDataLoader(sys.argv[1], dp_rank=0, dp_world_size=2, local_batch_size=4, seq_len=128)
inputs, labels = next(iter(loader))
print(tuple(inputs["input"].shape), tuple(labels.shape), loader.state_dict()["step"])
