"""Memory that is too little, told before libraries end the process in their own words, or hang."""

from __future__ import annotations

import os
import resource

from ....tasks.errors import OstracaError

_LEAST = 1 << 30  # bytes that Python, NumPy, Arrow and the compiler of kernels take; little of it is touched
_RAY = 8 << 30  # beside the object store, which Ray maps: some dozen threads in every process
_STORE = 0.3  # of the machine's memory, as Ray has it


def require_address_space(*, ray: bool = False) -> None:
    """OstracaError where this process may have so little address space that libraries abort or hang."""
    limit = _limit()
    least = _RAY + int(_STORE * os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")) if ray else _LEAST
    if limit is not None and limit < least:
        what = "Ray needs" if ray else "ostraca needs"
        more = ", or use engine=local" if ray else ""
        raise OstracaError(
            f"out of memory: a limit (ulimit -v) leaves {limit / 2**30:.1f} GiB of address space, and {what} "
            f"{least / 2**30:.1f} GiB at least; raise it, or lift it with `ulimit -v unlimited`{more}"
        )


def out_of_memory() -> str:
    """What to say of a MemoryError."""
    limit = _limit()
    why = "" if limit is None else f" (a limit, ulimit -v, leaves {limit / 2**30:.1f} GiB of address space)"
    return (
        f"out of memory{why}; give this process more, or ask for less: fewer workers=, a smaller "
        "row_group_tokens= or dedup.memory="
    )


def _limit() -> int | None:
    """Bytes of address space that this process may have; None where nothing limits it."""
    soft = resource.getrlimit(resource.RLIMIT_AS)[0]
    return None if soft == resource.RLIM_INFINITY else soft
