"""Mano's validator: evaluates the expression of every example again, from its tokens alone.

Written apart from the generator on purpose: it imports no random stream and nothing of `tasks.mano` (a
test reads the imports). It reads the prefix form from its end, with a stack of values.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ..base import Verdicts
from ..core.batch import unragged
from ..core.kernels import kernel

MESSAGES = (
    "valid",
    "does not begin with <bos>",
    "<len_1> to <len_L> was expected",
    "a length that this config does not ask",
    "not 2 * length + 5 tokens",
    "neither a value nor an operator of this config where the expression is expected",
    "an operator has fewer than two operands",
    "more than one expression",
    "a division by zero",
    "<ans> of the same length was expected",
    "the answer is not one value",
    "the answer is not the value of the expression",
    "loss_mask is not 1 on every token",
    "length is not the number of operators",
    "answer is not the value of the expression",
)

# x mod m = x - (x * ceil(2^47 / m) >> 47) * m for 0 <= x <= m * m, m <= 2^15, without an overflow.
_SHIFT = np.int64(47)
_TIMES, _DIVISION = np.uint64(2), np.uint64(3)  # operators


def validate(batch: pa.RecordBatch, config: Mapping[str, Any]) -> Verdicts:
    """Check every row of a batch with the column `input_ids` and any other column of Mano."""
    tokens, offsets = unragged(batch.column("input_ids"))
    names = batch.schema.names
    mask, mask_offsets = _empty(np.uint8), _empty(np.int32)
    if "loss_mask" in names:
        mask, mask_offsets = unragged(batch.column("loss_mask"))
    lengths = batch.column("length").to_numpy() if "length" in names else _empty(np.int32)
    answers = batch.column("answer").to_numpy() if "answer" in names else _empty(np.int32)
    largest, fixed = config["L"], config["fixed_length"]
    if fixed is None and config["qa"]:
        fixed = largest
    codes = np.zeros(batch.num_rows, dtype=np.int32)
    positions = np.zeros(batch.num_rows, dtype=np.int64)
    _validate(
        tokens,
        offsets,
        mask,
        mask_offsets,
        lengths,
        answers,
        largest,
        -1 if fixed is None else fixed,
        np.array([letter in config["ttype"] for letter in "asmd"]),
        config["value_mod"],
        partners(config["value_mod"]),
        config["knowledge_augment"],
        config["bos_token_id"],
        codes,
        positions,
        np.zeros(2 * largest + 3, dtype=np.int64),
    )
    return Verdicts(codes=codes, positions=positions, messages=MESSAGES)


@lru_cache(maxsize=16)
def partners(modulus: int) -> NDArray[np.int64]:
    """What an operator adds to its first operand (+ -) or multiplies it by (* /) for each second operand.

    int64 [4, modulus], read-only; 1/b by Fermat's b^(modulus - 2), so only where the modulus is prime.
    """
    values = range(modulus)
    inverses = [pow(value, modulus - 2, modulus) for value in values]
    table = np.array([values, [modulus - value for value in values], values, inverses], dtype=np.int64)
    table.flags.writeable = False
    return table


def _empty(dtype: Any) -> NDArray[Any]:
    """No values, read-only as Arrow's are: Numba would compile the kernel once more for the other kind."""
    array = np.empty(0, dtype)
    array.flags.writeable = False
    return array


@kernel
def _validate(
    tokens,
    offsets,
    mask,
    mask_offsets,
    lengths,
    answers,
    largest,
    fixed,
    used,
    modulus,
    partners,
    augment,
    bos,
    codes,
    positions,
    stack,
):
    """Set codes and positions of every row; empty columns are those that the batch lacks.

    `stack` (int64 [2L + 3], zeros) is scratch. Values and operators go the same way through the loop: which
    one comes next cannot be predicted. Places have no sign there: what has one might count from an array's
    end, and costs a question each.
    """
    aliases = 2 if augment else 1
    reciprocal = ((np.int64(1) << _SHIFT) + modulus - 1) // modulus
    for row in range(len(codes)):
        begin, end = offsets[row], offsets[row + 1]
        code = 0
        at = begin
        length = np.int64(0)
        if begin == end or tokens[begin] > bos or tokens[begin] <= bos - aliases:
            code = 1
        else:
            at = begin + 1
            named = np.int64(tokens[at]) if at < end else np.int64(0)
            length = named // 10
            if length < 1 or length > largest or named - 10 * length >= aliases:
                code = 2
            elif fixed >= 0 and length != fixed:
                code = 3
            elif end - begin != 2 * length + 5:
                code = 4
                at = end

        # The expression from its last token to its first: of the values that wait for an operator `top` is
        # the first, the others are stack[2] to stack[height - 1].
        top = np.int64(0)
        if code == 0:
            height = np.int64(1)
            for place in range(end - 3, begin + 1, -1):
                token = np.int64(tokens[np.uint64(place)])
                value = token - 5000
                is_value = (value >= 0) & (value < modulus)
                operator = np.uint64((token - 1) & 3)
                is_operator = (token >= 1) & (token <= 4 * aliases) & used[operator]
                if not (is_value | is_operator):
                    code = 5
                    at = place
                    break
                if is_operator & (height < 3):
                    code = 6
                    at = place
                    break
                other = stack[np.uint64(height - 1)]
                if is_operator & (operator == _DIVISION) & (other == 0):
                    code = 8
                    at = place
                    break
                partner = partners[operator, np.uint64(other)]
                result = top + partner if operator < _TIMES else top * partner
                result -= ((result * reciprocal) >> _SHIFT) * modulus
                stack[np.uint64(height)] = top
                height += 1 - 2 * is_operator
                top = result if is_operator else value
            if code == 0:
                at = end - 2
                named = np.int64(tokens[at]) - 10 * length - 4
                answer = np.int64(tokens[end - 1]) - 5000
                if height != 2:
                    code = 7
                    at = begin + 2
                elif named < 0 or named >= aliases:
                    code = 9
                elif answer < 0 or answer >= modulus:
                    code = 10
                    at = end - 1
                elif answer != top:
                    code = 11
                    at = end - 1
        if code == 0 and len(mask_offsets):
            first, last = mask_offsets[row], mask_offsets[row + 1]
            good = 0
            for place in range(np.uint64(first), np.uint64(last)):
                good += mask[place] == 1
            if last - first != end - begin or good != end - begin:
                code = 12
                at = begin
        if code == 0 and len(lengths) and lengths[row] != length:
            code = 13
            at = begin + 1
        if code == 0 and len(answers) and answers[row] != top:
            code = 14
            at = end - 1
        codes[row] = code
        positions[row] = at - begin if code else 0
