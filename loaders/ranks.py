"""Who is asking: the rank of this process and the number of them, and which lines of a batch are its own."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass

from ..tasks.errors import ConfigError, check_integer

MOST_LANES = 24  # by default: a multiple of 2, 3, 4, 6, 8 and 12


def rank_and_world(rank: int | None, world_size: int | None) -> tuple[int, int]:
    """Rank and world size as given, else of torch's process group, else of RANK and WORLD_SIZE, else 0 and 1.

    ConfigError where only one is given or the rank is outside of the world.
    """
    if (rank is None) != (world_size is None):
        given, missing = ("rank", "world_size") if world_size is None else ("world_size", "rank")
        raise ConfigError(f"{given} is given without {missing}; give both or neither")
    if rank is None or world_size is None:
        rank, world_size = _group() or _environment() or (0, 1)
    world_size = check_integer("world_size", world_size, 1)
    if isinstance(rank, bool) or not isinstance(rank, int) or not 0 <= rank < world_size:
        raise ConfigError(f"rank={rank!r} must be an integer from 0 to world_size - 1 = {world_size - 1}")
    return rank, world_size


def _group() -> tuple[int, int] | None:
    """Of torch's process group, where torch is loaded and has one."""
    torch = sys.modules.get("torch")
    distributed = getattr(torch, "distributed", None)
    if distributed is None or not distributed.is_available() or not distributed.is_initialized():
        return None
    return distributed.get_rank(), distributed.get_world_size()


def _environment() -> tuple[int, int] | None:
    """Of RANK and WORLD_SIZE, which torchrun and its like set; ConfigError where they are no numbers."""
    rank, world_size = os.environ.get("RANK"), os.environ.get("WORLD_SIZE")
    if rank is None or world_size is None:
        return None
    try:
        return int(rank), int(world_size)
    except ValueError:
        raise ConfigError(
            f"RANK={rank!r} and WORLD_SIZE={world_size!r} in the environment are not integers; set both or "
            "unset them, or give rank and world_size"
        ) from None


def default_lanes(batch_size: int, shuffle: bool) -> int:
    """The largest divisor of the batch up to MOST_LANES; 1 for rows in index order."""
    if not shuffle:
        return 1
    return max(lanes for lanes in range(1, MOST_LANES + 1) if batch_size % lanes == 0)


@dataclass(frozen=True, kw_only=True)
class Share:
    """The lines of a global batch that this process yields, and the lanes that feed them."""

    batch_size: int
    lanes: int
    rank: int
    world_size: int

    @staticmethod
    def of(batch_size: int, lanes: int, rank: int, world_size: int) -> Share:
        """ConfigError where the numbers do not go together."""
        if batch_size % world_size:
            next_one = -(-batch_size // world_size) * world_size
            raise ConfigError(
                f"batch_size={batch_size} (of all ranks together) cannot be shared by "
                f"world_size={world_size} ranks; take a multiple of {world_size}, e.g. {next_one}"
            )
        if batch_size % lanes:
            raise ConfigError(
                f"lanes={lanes} must divide batch_size={batch_size}, so that each feeds the same number of "
                f"lines; e.g. lanes={default_lanes(batch_size, True)}"
            )
        return Share(batch_size=batch_size, lanes=lanes, rank=rank, world_size=world_size)

    @property
    def lines(self) -> int:
        """Lines that this process yields a step."""
        return self.batch_size // self.world_size

    @property
    def first_line(self) -> int:
        """Of the global batch, the first that is this process's."""
        return self.rank * self.lines

    @property
    def lane_lines(self) -> int:
        """Lines that a lane feeds."""
        return self.batch_size // self.lanes

    def own_lanes(self) -> list[tuple[int, int, int]]:
        """(lane, first, last + 1) of the lines of each lane that are this process's.

        Where the world size divides the lanes, they are whole lanes.
        """
        size, stop = self.lane_lines, self.first_line + self.lines
        owned = []
        for lane in range(self.first_line // size, -(-stop // size)):
            begin = lane * size
            owned.append((lane, max(self.first_line - begin, 0), min(stop - begin, size)))
        return owned
