"""`TokenStream`: batches for training, each a pure function of the data, the settings and the step."""

from __future__ import annotations

import copy
import math
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..tasks.errors import ConfigError, OstracaError, check_bool, check_integer, one_of
from ..tasks.examples import check_seed
from .ahead import Workers, default_threads, ready_ahead
from .batch import EXTRAS, Batch, Form, Laid
from .buffers import Buffers
from .mixture import Mixture, blend_of
from .order import OrderSettings
from .part import REMAINDERS, Part, modes_and_length, part_of
from .plan import ROUND_TOKENS, OnePart, Planner, Round, Shares, Steps
from .ranks import Share, default_lanes, rank_and_world
from .source import Source
from .state import state_of, step_in

if TYPE_CHECKING:
    from .torch_data import RowDataset, StreamDataset

WINDOW_BLOCKS = 16  # in all lanes together, about
DTYPES = ("int64", "int32")


class TokenStream:
    """Batches of a source's rows, in an order that neither world size nor threads nor storage change.

    batch_size: lines of the global batch; a rank yields its batch_size / world_size of them, and the ranks'
    lines, end to end, are the batch of one process. rank, world_size: None is torch's process group, else
    RANK and WORLD_SIZE, else one process.

    mode: None is "packed" where the source's rows were packed when the corpus was built, else "left_aligned".
    "left_aligned": examples end to end in lines of `length` tokens; a line begins with a whole example, and
    its last one is cut where the line ends, as in the paper, or the line is filled up after a whole one: each
    example has a place, and how many lines an epoch gives is known before it is read (endless sources: always
    cut). "concat": examples end to end, going on in the next line. "padded": one example a line, filled up
    (length None, in one process: to the longest of the batch); longer ones are cut. "packed": one packed row
    a line, filled up (length None: to the length that it was packed to).

    seed, shuffle, window_blocks: the order; blocks come in random order, each lane mixes the rows of
    window_blocks of them at a time. lanes: how many places of the order a batch is filled from; every world
    size that divides them reads each byte once. epochs: how many an iterator gives (None: without end);
    remainder: what becomes of lines that fill no batch at the end of an epoch: "drop", "pad" (lines of
    padding) or "wrap" (its first lines again).

    A batch holds int64 (or dtype) [lines, length]: `input_ids`; `labels` (-100 where there is no loss, not
    shifted: the model shifts them); `position_ids` (from 0 in each example; 0 in padding); with "padded" also
    `attention_mask`. extras: more of `EXTRAS`.

    Iterating goes on from where the stream stands; where it stood at the end of an epoch (of `epochs` of
    them), with the next. `state_dict` after a batch is where the next begins. An iterator ends with an
    OstracaError where the stream was moved by another one or by `load_state_dict`.

    device: None gives NumPy arrays, else torch tensors there ("cpu", "cuda:0", ...); to a GPU the next batch
    is copied, from pinned memory, while the last is in use.

    threads read ahead (None: one, or two where there are cores for them); prefetch: pieces of about 520,000
    tokens that are laid ahead (0 for both: all is done when it is asked for). ConfigError where settings do
    not go together.
    """

    def __init__(
        self,
        source: Source | Mixture,
        *,
        batch_size: int,
        length: int | None = None,
        mode: str | None = None,
        pad_id: int = 0,
        seed: int = 0,
        shuffle: bool = True,
        epochs: int | None = None,
        remainder: str = "drop",
        rank: int | None = None,
        world_size: int | None = None,
        lanes: int | None = None,
        window_blocks: int | None = None,
        dtype: str = "int64",
        extras: Sequence[str] = (),
        threads: int | None = None,
        prefetch: int = 2,
        device: Any = None,
    ) -> None:
        self._source = source
        batch_size = check_integer("batch_size", batch_size, 1)
        shuffle = check_bool("shuffle", shuffle)
        lanes = default_lanes(batch_size, shuffle) if lanes is None else check_integer("lanes", lanes, 1)
        self._share = Share.of(batch_size, lanes, *rank_and_world(rank, world_size))
        sources = source.sources if isinstance(source, Mixture) else {"": source}
        modes, self._length = modes_and_length(list(sources.values()), mode, length, self._share.world_size)
        self._epochs = None if epochs is None else check_integer("epochs", epochs, 1)
        self._remainder = one_of("remainder", remainder, REMAINDERS)
        self._form = Form(
            dtype=np.dtype(one_of("dtype", dtype, DTYPES)),
            pad_id=check_integer("pad_id", pad_id, 0),
            attention_mask=mode == "padded",
            extras=tuple(one_of("extras", extra, EXTRAS) for extra in extras),
        )
        self._device = device
        self._threads = default_threads() if threads is None else check_integer("threads", threads, 0, 64)
        self._prefetch = check_integer("prefetch", prefetch, 0, 64)
        if window_blocks is None:
            window_blocks = max(2, math.ceil(WINDOW_BLOCKS / lanes))
        check_integer("window_blocks", window_blocks, 1)
        self._orders = [
            OrderSettings(
                mode=own_mode,
                length=self._length,
                seed=check_seed(seed),
                shuffle=shuffle,
                window_blocks=window_blocks,
            )
            for own_mode in modes
        ]
        # A mixture's sources end each by itself, so an epoch of each is made even over the lanes alone.
        mixed = isinstance(source, Mixture)
        quantum = lanes if mixed else batch_size
        self._parts: list[Part] = [
            part_of(one, order, lanes, quantum, self._remainder, mixed)
            for one, order in zip(sources.values(), self._orders, strict=True)
        ]
        if self._epochs is not None and self.steps_per_epoch is None:
            what = "a mixture" if isinstance(source, Mixture) else "the source"
            raise ConfigError(f"epochs={epochs}: {what} is endless; leave epochs out, and count the steps")
        self._names = [
            (name,) if isinstance(source, Mixture) else part.names
            for name, part in zip(sources, self._parts, strict=True)
        ]
        self._buffers = Buffers()
        self._step = self._begun = 0
        self._moves = 0  # rises with every new iterator and load_state_dict

    @property
    def source(self) -> Source | Mixture:
        """What the stream draws from."""
        return self._source

    @property
    def world_size(self) -> int:
        """Processes that share a batch."""
        return self._share.world_size

    def of_one_process(self) -> TokenStream:
        """The same stream as one process sees it: whole batches. It stands where this one does."""
        whole = copy.copy(self)
        whole._share = replace(self._share, rank=0, world_size=1)
        return whole

    def dataset(self) -> StreamDataset:
        """This rank's batches as a torch dataset, see `loaders.torch_data`."""
        from .torch_data import StreamDataset

        return StreamDataset(self)

    def rows(self) -> RowDataset:
        """The lines of all ranks, one by one, as a torch dataset, for what makes and shares out batches."""
        from .torch_data import RowDataset

        return RowDataset(self)

    @property
    def step(self) -> int:
        """Batches given so far; the number of the next one."""
        return self._step

    @property
    def examples_seen(self) -> int:
        """Examples that begin in the batches that this object gave."""
        return self._begun

    @property
    def steps_per_epoch(self) -> int | None:
        """Batches of an epoch, the same on every rank; None: it has no end."""
        lines = None if isinstance(self._source, Mixture) else self._parts[0].lane_lines
        return None if lines is None else lines // self._share.lane_lines

    @property
    def epoch(self) -> int:
        """The epoch that the next batch is of."""
        return 0 if self.steps_per_epoch is None else self._step // self.steps_per_epoch

    def set_epoch(self, epoch: int) -> None:
        """Stand at the beginning of an epoch; ConfigError where the stream has none."""
        if self.steps_per_epoch is None:
            raise ConfigError("an endless stream has no epochs; its state says where it stands")
        self._move(check_integer("epoch", epoch, 0) * self.steps_per_epoch)

    def __len__(self) -> int:
        """Batches that `epochs` epochs have; TypeError where there is no end."""
        if self._epochs is None or self.steps_per_epoch is None:
            raise TypeError("the stream has no end, so no length: give epochs, or count the steps")
        return self._epochs * self.steps_per_epoch

    def __iter__(self) -> Iterator[Batch]:
        mine = self._move(self._step)
        batches = self.batches(self.steps_from(self._step))
        if self._device is not None:
            from .torch_data import on_device

            batches = on_device(batches, self._device)
        for batch, begun in batches:
            self._step += 1
            self._begun += begun
            yield batch
            if self._moves != mine:
                raise OstracaError("the stream was moved while this iterator was in use; call iter() again")

    def batches(self, steps: Steps) -> Iterator[tuple[Batch, int]]:
        """The batches of some steps, each with the examples that begin in it; the stream is not moved."""
        workers = Workers(self._threads)
        rounds = self._rounds(workers, steps)
        batches = ready_ahead(rounds, self._prefetch)
        try:
            for laid in batches:
                yield from laid.batches(self._share.lines)
                del laid
        finally:
            batches.close()
            workers.stop()

    def _move(self, step: int) -> int:
        self._step = step
        self._moves += 1
        return self._moves

    def steps_from(self, first: int) -> Steps:
        """The steps of an iterator that begins at one: to the end of the `epochs` that it is in."""
        if self._epochs is None or self.steps_per_epoch is None:
            return Steps(first=first, stop=None)
        run = self._epochs * self.steps_per_epoch
        return Steps(first=first, stop=(first // run + 1) * run)

    def _shares(self) -> Shares:
        if isinstance(self._source, Mixture):
            return blend_of(self._source, self._share, self._orders, self._parts)
        return OnePart(share=self._share)

    def _rounds(self, workers: Workers, steps: Steps) -> Generator[Laid]:
        length = self._length
        count = 1 if length is None else max(1, ROUND_TOKENS // (self._share.lines * length))
        planner = Planner(self._parts, self._shares(), workers)
        for one in planner.rounds(steps, count):
            yield self._lay(one, workers)
            del one

    def _lay(self, one: Round, workers: Workers) -> Laid:
        """The batches of a round."""
        length = self._length
        if length is None:
            windows = [
                (piece, piece.window.result(workers)) for piece in one.pieces if piece.window is not None
            ]
            length = max((int(window.lengths(piece.lines).max()) for piece, window in windows), default=1)
        laid = Laid(len(one.steps) * self._share.lines, length, self._form, self._buffers)
        for piece in one.pieces:
            if piece.window is None:
                laid.pad(piece.targets)
            else:
                laid.lay(piece, piece.window.result(workers), self._names[piece.part])
        return laid

    def _identity(self) -> dict[str, Any]:
        order = self._orders[0]
        modes = [own.mode for own in self._orders]
        return {
            "source": dict(self._source.identity),
            "batch_size": self._share.batch_size,
            "length": self._length,
            "mode": modes if isinstance(self._source, Mixture) else modes[0],
            "pad_id": self._form.pad_id,
            "seed": order.seed,
            "shuffle": order.shuffle,
            "window_blocks": order.window_blocks,
            "lanes": self._share.lanes,
            "remainder": self._remainder,
        }

    def state_dict(self) -> dict[str, Any]:
        """Where the next batch begins: small, plain values, the same on every rank."""
        return state_of(self._step, self._identity(), getattr(self._source, "recipe", None))

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Stand where `state` was taken; OstracaError where it belongs to another stream."""
        self._move(step_in(state, self._identity()))
