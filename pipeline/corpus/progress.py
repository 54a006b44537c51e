"""What long work tells of itself while it goes on."""

from __future__ import annotations

from types import TracebackType
from typing import Protocol, Self


class Progress(Protocol):
    """Made with a title and the numbers of shards and rows to come; as a context manager it ends itself."""

    def __init__(self, title: str, shards: int, examples: int) -> None: ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...

    def advance(self, examples: int, tokens: int = 0) -> None:
        """A shard is done, of so many rows and tokens."""


class Silent:
    """Says nothing."""

    def __init__(self, title: str, shards: int, examples: int) -> None: ...

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...

    def advance(self, examples: int, tokens: int = 0) -> None: ...
