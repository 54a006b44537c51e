"""Checkpoints of a training run: whole or not there, written beside the training, the last few kept.

A checkpoint is a folder `step-00000100` of
    model.safetensors  the weights; of a model of `transformers` under its own names, with its config.json, so
                       that its `from_pretrained` loads the folder
    training.pt        optimizer and random states: `torch.load(weights_only=True)` reads it
    state.json         the rest: step, counts, the loader's state, the run, the digests of the other files;
                       written last, so where it stands the others are whole
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor, nn

from ..pipeline.store.folder import Folder, json_bytes, read_json, write_bytes
from ..tasks.errors import OstracaError

FORMAT = 1
_MODEL, _TRAINING, _STATE, _CONFIG = "model.safetensors", "training.pt", "state.json", "config.json"
_NAME = re.compile(r"step-(\d{8,})")


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """All that a run needs to go on as if it had not stopped; its tensors are on the CPU, its own."""

    step: int
    weights: Mapping[str, Tensor]
    training: Mapping[str, Any]  # of optimizer and random states, as `torch.save` takes them
    state: Mapping[str, Any]  # plain values
    config: Mapping[str, Any] | None = None  # of a model of `transformers`


def weights_of(model: nn.Module) -> dict[str, Tensor]:
    """Copies of a model's weights and buffers on the CPU; what shares a storage comes once, by one name."""
    seen: set[tuple[int, int, torch.Size]] = set()
    found = {}
    for name, tensor in model.state_dict().items():
        key = tensor.data_ptr(), tensor.storage_offset(), tensor.shape
        if tensor.numel() and key in seen:
            continue
        seen.add(key)
        found[name] = tensor.detach().to("cpu", copy=True).contiguous()
    return found


def load_weights(model: nn.Module, weights: Mapping[str, Tensor], where: str) -> None:
    """Put weights that `weights_of` gave into a model; OstracaError where they are another model's."""
    own = weights_of(model)
    wrong = [name for name in {**own, **weights} if name not in own or name not in weights]
    wrong += [name for name in own if name in weights and own[name].shape != weights[name].shape]
    if wrong:
        shapes = [tuple(side[wrong[0]].shape) if wrong[0] in side else "none" for side in (weights, own)]
        raise OstracaError(
            f"{where} is of another model: of {wrong[0]} it has {shapes[0]}, the model {shapes[1]}; take the "
            "model that it was written with, or another out="
        )
    model.load_state_dict(dict(weights), strict=False)  # those that share a storage are named once


def to_cpu(value: Any) -> Any:
    """The same nested value with copies of its tensors on the CPU."""
    if isinstance(value, Tensor):
        return value.detach().to("cpu", copy=True)
    if isinstance(value, Mapping):
        return {key: to_cpu(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(to_cpu(one) for one in value)
    return value


class Checkpoints:
    """The checkpoints in a folder or a store, of which the last `keep` stay."""

    def __init__(self, folder: Folder, keep: int) -> None:
        self._folder, self._keep = folder, keep
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None

    def save(self, checkpoint: Checkpoint) -> None:
        """Begin to write a checkpoint; waits for the one before, and raises what became of that."""
        self.wait()
        self._thread = threading.Thread(target=self._write, args=(checkpoint,), name="ostraca-checkpoint")
        self._thread.start()

    def wait(self) -> None:
        """Until all is written; OstracaError where it could not be."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        error, self._error = self._error, None
        if error is not None:
            raise error

    def _write(self, checkpoint: Checkpoint) -> None:
        try:
            self._write_files(checkpoint)
        except BaseException as error:  # told by `wait`
            self._error = error

    def _write_files(self, checkpoint: Checkpoint) -> None:
        name = f"step-{checkpoint.step:08}"
        training = io.BytesIO()
        torch.save(dict(checkpoint.training), training)
        files = {
            _MODEL: save_tensors(dict(checkpoint.weights), metadata={"format": "pt"}),
            _TRAINING: training.getvalue(),
        }
        if checkpoint.config is not None:
            files[_CONFIG] = json_bytes(checkpoint.config)
        digests = {file: hashlib.sha256(data).hexdigest() for file, data in files.items()}
        said = {"format": FORMAT, "step": checkpoint.step, "files": digests, **checkpoint.state}
        for file, data in {**files, _STATE: json_bytes(said)}.items():
            write_bytes(self._folder, f"{name}/{file}", data)
        for step in sorted(self._steps())[: -self._keep]:
            # What makes it one goes first: a half-removed one is none.
            self._folder.remove(f"step-{step:08}/{_STATE}")
            self._folder.remove_all(f"step-{step:08}")

    def _steps(self) -> list[int]:
        """The steps of whole checkpoints."""
        found = []
        for path in self._folder.names():
            name, _, file = path.partition("/")
            match = _NAME.fullmatch(name)
            if match is not None and file == _STATE:
                found.append(int(match[1]))
        return found

    def last_name(self) -> str | None:
        """The folder of the last whole one; None where there is none."""
        self.wait()
        return f"step-{max(steps):08}" if (steps := self._steps()) else None

    def last(self) -> Checkpoint | None:
        """The last one that is whole; None where there is none. OstracaError where its files are damaged."""
        steps = self._steps()
        if not steps:
            return None
        return self.read(max(steps))

    def read(self, step: int) -> Checkpoint:
        """The checkpoint of a step; OstracaError where it is not there, or not as it was written."""
        name = f"step-{step:08}"
        where = f"{self._folder}/{name}"
        state = read_json(self._folder, f"{name}/{_STATE}")
        if state.get("format") != FORMAT:
            raise OstracaError(
                f"{where}: is of format {state.get('format')!r}, this ostraca reads {FORMAT}; go on with the "
                "release that wrote it, or remove it"
            )
        files = {}
        for file, digest in state["files"].items():
            files[file] = self._folder.read(f"{name}/{file}")
            if hashlib.sha256(files[file]).hexdigest() != digest:
                raise OstracaError(
                    f"{where}/{file}: is not what was written; remove the folder {name} to go on from the "
                    "checkpoint before it"
                )
        return Checkpoint(
            step=state["step"],
            weights=load_tensors(files[_MODEL]),
            training=torch.load(io.BytesIO(files[_TRAINING]), weights_only=True),
            state={key: value for key, value in state.items() if key not in ("format", "files")},
            config=json.loads(files[_CONFIG]) if _CONFIG in files else None,
        )
