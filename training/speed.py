"""How fast a run is, against what its device could do."""

from __future__ import annotations

import re
from dataclasses import dataclass

import torch
from torch import nn

from .models.base import LanguageModel
from .models.hugging_face import HuggingFace
from .models.llama import Llama

# Dense bfloat16, in TFLOP/s, as the makers say; words of the device's name, the longest that fit.
_PEAKS = {
    "A100": 312.0,
    "A10": 125.0,
    "A10G": 70.0,
    "A30": 165.0,
    "A40": 149.7,
    "B200": 2250.0,
    "GH200": 989.0,
    "H100": 989.0,
    "H100 NVL": 835.0,
    "H100 PCIe": 756.0,
    "H200": 989.0,
    "H200 NVL": 835.0,
    "L4": 121.0,
    "L40": 181.0,
    "L40S": 362.0,
    "RTX 3090": 71.0,
    "RTX 4090": 165.2,
    "RTX 5090": 209.5,
}


@dataclass(frozen=True, kw_only=True)
class Work:
    """What a model's step costs, for MFU."""

    inside: int  # parameters that every token passes, as often as it does: without embeddings and head
    head: int  # parameters that labelled tokens alone pass
    across: int  # layers x width: what attention costs, for each token of context

    def flops(self, tokens: int, labels: int, context: int) -> float:
        """Of forward and backward pass: 6 a token and parameter, and 6 x layers x width x context a token.

        The last is 12 x layers x width x context, halved, since a token sees half of the context on average.
        """
        return 6.0 * (tokens * (self.inside + self.across * context) + labels * self.head)


def work_of(model: LanguageModel) -> Work:
    """What a step of a model costs. Of a model of the user's own nothing is known of head and attention:
    all its parameters but embeddings count as inside."""
    embedded = {
        parameter
        for module in model.modules()
        if isinstance(module, nn.Embedding)
        for parameter in module.parameters(recurse=False)
    }
    if isinstance(model, Llama):
        blocks = _count(model.blocks.parameters())
        width = model.embedding.embedding_dim
        across = model.loops * len(model.blocks) * width
        return Work(inside=model.loops * blocks + width, head=_count([model.output.weight]), across=across)
    if isinstance(model, HuggingFace) and (head := model.inner.get_output_embeddings()) is not None:
        outside = embedded | set(head.parameters())
        inside = _count(parameter for parameter in model.parameters() if parameter not in outside)
        config = model.inner.config
        layers = getattr(config, "num_hidden_layers", 0) if _attends(model.inner) else 0
        return Work(inside=inside, head=_count(head.parameters()), across=layers * config.hidden_size)
    return Work(
        inside=_count(parameter for parameter in model.parameters() if parameter not in embedded),
        head=0,
        across=0,
    )


def _attends(model: nn.Module) -> bool:
    return any("attention" in type(module).__name__.lower() for module in model.modules())


def _count(parameters: object) -> int:
    return sum(parameter.numel() for parameter in parameters)  # type: ignore[attr-defined]


def peak_of(device: torch.device, said: float | None) -> float | None:
    """FLOP/s that a device could do in bfloat16: as said (in TFLOP/s), else as known; None: unknown."""
    if said is not None:
        return said * 1e12
    if device.type != "cuda":
        return None
    return known_peak(torch.cuda.get_device_name(device))


def known_peak(name: str) -> float | None:
    """FLOP/s of a GPU by its name; None: unknown."""
    known = [part for part in _PEAKS if re.search(rf"(?<![\w]){re.escape(part)}(?![\w])", name)]
    return _PEAKS[max(known, key=len)] * 1e12 if known else None


def memory_of(device: torch.device) -> float:
    """The most memory that was in use, in GiB: of the GPU, or of this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**30
    import resource
    import sys

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / (2**30 if sys.platform == "darwin" else 2**20)
