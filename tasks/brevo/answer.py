"""Whether a model's answer is one of those that count."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ..base import INT32_MAX, ValidationResult
from ..core.batch import ragged
from .config import check
from .validate import MESSAGES, judge

if TYPE_CHECKING:
    pass


def check_brevo_answer(
    prompt_ids: Any, answer_ids: Any, config: Mapping[str, Any] | None = None
) -> ValidationResult:
    """Check what a model wrote after a prompt that ends with `<ans>`: any valid order counts.

    prompt_ids and answer_ids: lists or arrays of integers [length]. The answer may end with `<eos>` or
    without it; anything after `<eos>` makes it invalid. Truthy when valid, and says why when not.
    """
    full = check(config)
    prompt, answer = _ids(prompt_ids), _ids(answer_ids)
    if prompt is None or answer is None:
        name = "prompt_ids" if prompt is None else "answer_ids"
        return ValidationResult(valid=False, reason=f"{name} is not made of integers")
    eos = full["eos_token_id"]
    if eos not in answer:
        answer = np.append(answer, np.int32(eos))
    tokens = np.concatenate([prompt, answer])
    offsets = np.array([0, len(tokens)], np.int32)
    batch = pa.RecordBatch.from_arrays([ragged(tokens, offsets)], names=["input_ids"])
    verdicts, answer_starts = judge(batch, full)
    code, position = int(verdicts.codes[0]), int(verdicts.positions[0])
    if answer_starts[0] == len(prompt):
        if code == 0:
            return ValidationResult(valid=True)
        where = f"(at token {position - len(prompt)} of the answer)"
        return ValidationResult(valid=False, reason=f"{MESSAGES[code]} {where}")
    if code == 0 or position >= len(prompt) or answer_starts[0] >= 0:
        return ValidationResult(valid=False, reason="the prompt does not end with its <ans>")
    return ValidationResult(valid=False, reason=f"the prompt: {verdicts[0].reason}")


def _ids(given: Any) -> NDArray[np.int32] | None:
    """The ids as int32 [length], -1 for one that no config can have; None where they are not integers."""
    try:
        ids = np.asarray(given)
    except (TypeError, ValueError, RuntimeError):
        return None
    if ids.size == 0 and ids.ndim == 1:
        return np.empty(0, np.int32)
    if ids.ndim != 1 or not np.issubdtype(ids.dtype, np.integer):
        return None
    return np.where((ids < 0) | (ids > INT32_MAX), -1, ids).astype(np.int32)
