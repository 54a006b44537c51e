"""Checkpoints of a training run: whole or not there, written beside the training, the last few kept.

A checkpoint is a folder `step-00000100` of
    model.safetensors  the weights; of a model of `transformers` under its own names, with its config.json, so
                       that its `from_pretrained` loads the folder
    training.pt        the optimizer's state by parameter: `torch.load(weights_only=True)` reads it; what is
                       random in training is a function of seed, step and part, so there is no state of it
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
from torch import Tensor

from ..pipeline.store.folder import Folder, json_bytes, read_json, write_bytes
from ..tasks.errors import OstracaError

_PROBE = "can-be-written"
FORMAT = 2
_MODEL, _TRAINING, _STATE, _CONFIG = "model.safetensors", "training.pt", "state.json", "config.json"
_NAME = re.compile(r"step-(\d{8,})")


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """All that a run needs to go on as if it had not stopped; its tensors are on the CPU, its own."""

    step: int
    weights: Mapping[str, Tensor]
    training: Mapping[str, Any]  # of the optimizer, as `torch.save` takes it
    state: Mapping[str, Any]  # plain values
    config: Mapping[str, Any] | None = None  # of a model of `transformers`


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

    def last_step(self) -> int | None:
        """The step of the last whole one; None where there is none."""
        self.wait()
        return max(self._steps(), default=None)

    def where(self, step: int) -> str:
        """The folder of the checkpoint of a step."""
        return f"{self._folder}/step-{step:08}"

    def require_writable(self) -> None:
        """OstracaError where nothing can be written there."""
        write_bytes(self._folder, _PROBE, b"")
        self._folder.remove(_PROBE)

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
