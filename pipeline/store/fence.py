"""A builder that has lost its lock writes no more.

One that is held up (stopped, suspended, cut off from the disk or the store) may wake up when another has
taken the folder over and finished the corpus. So whoever writes for a build, its workers too, looks before
every write and removal whether the lock is still the build's own; and what is not final never bears a final
name.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ...tasks.errors import OstracaError
from .clock import now


class LostLockError(OstracaError):
    """Another build has taken the folder over."""


@dataclass(frozen=True, kw_only=True)
class Fence:
    """The lock of a build: its file, below the folder, and what stands in it as long as it is held."""

    path: str
    owner: str

    def require(self, folder: str, owner_of: Callable[[str], str | None]) -> None:
        """LostLockError where `owner_of(path)` is another now, or nobody."""
        owner = owner_of(self.path)
        if owner is None:
            raise LostLockError(
                f"{folder}/{self.path}: is gone, so this build stops and changes nothing there: another "
                "finished while this one was stalled, or out= is not a folder that all nodes share; run the "
                "same command again"
            )
        if owner != self.owner:
            raise LostLockError(
                f"{folder}: this build stalled and lost the folder to another build, so it stops and "
                "changes nothing there; run the same command again once the other has finished"
            )


# (folder, fence) -> until when a look at the lock counts.
_SEEN: dict[tuple[str, Fence], float] = {}


def require_lately(fence: Fence, folder: str, owner_of: Callable[[str], str | None], seconds: float) -> None:
    """`require`, where looking costs a request: a look counts for so many seconds."""
    if not seconds or _SEEN.get((folder, fence), 0.0) <= now():
        began = now()
        fence.require(folder, owner_of)
        _SEEN[folder, fence] = began + seconds
