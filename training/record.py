"""Where a run is written down: CSV rows as they happen; TensorBoard and Weights & Biases where wanted."""

from __future__ import annotations

import csv
import io
import os
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, final

from ..pipeline.store.atomic import atomic_file
from ..tasks.errors import OstracaError
from .settings import WandbSettings

# Of metrics.csv, a row every logging.every_steps.
STEPS = (
    "step",
    "examples_seen",
    "tokens_seen",
    "train_loss",
    "gradient_norm",
    "learning_rate",
    "tokens_per_second",
    "mfu",
    "data_wait",
    "memory_gib",
    "train_seconds",
)
# Of a hop curve, a row every eval.every_steps and hop.
COLUMNS = (
    "step",
    "examples_seen",
    "hop",
    "accuracy",
    "standard_error",
    "answers",
    "chance",
    "train_loss",
    "learning_rate",
    "tokens_seen",
    "train_seconds",
)


@final
class MetricsCsv:
    """A CSV with these columns, `step` first; every row is on disk when `write` returns.

    up_to: the rows of these steps stay of one that is there; None: none do.
    """

    def __init__(self, path: Path, columns: Sequence[str], up_to: int | None = None) -> None:
        kept = []
        if up_to is not None and path.exists():
            # A last line without its end was cut off, on a full disk say: it is of a step that comes again.
            lines = path.read_text(encoding="utf-8").rpartition("\n")[0].splitlines()
            kept = _rows_up_to(path, lines, columns, up_to)
        with atomic_file(path) as whole:
            text = io.StringIO(newline="")
            writer = csv.DictWriter(text, columns, lineterminator="\n")
            writer.writeheader()
            writer.writerows(kept)
            whole.write(text.getvalue().encode())
        self._file = path.open("a", newline="", encoding="utf-8")
        self._writer = csv.DictWriter(self._file, columns, lineterminator="\n")

    def write(self, row: Mapping[str, Any]) -> None:
        """Add one row; its keys are the columns."""
        self._writer.writerow(row)
        self._file.flush()
        os.fsync(self._file.fileno())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()


def _rows_up_to(path: Path, lines: list[str], columns: Sequence[str], up_to: int) -> list[dict[str, str]]:
    """The rows of the first steps; OstracaError where these are not rows of such a table."""
    reader = csv.DictReader(lines)
    try:
        if tuple(reader.fieldnames or ()) != tuple(columns):
            raise ValueError(f"its columns are {reader.fieldnames}")
        return [row for row in reader if int(row["step"]) <= up_to]
    except (TypeError, ValueError) as error:
        raise OstracaError(
            f"{path} is not as ostraca wrote it ({error}); restore it, or remove it: rows are then written "
            "from the last checkpoint on"
        ) from error


def read_metrics(path: Path) -> list[dict[str, float]]:
    """The rows of a `MetricsCsv` as numbers (an empty field is NaN); OstracaError where it is not one."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            if not {"step", "examples_seen", "hop", "accuracy"} <= set(reader.fieldnames or ()):
                raise OstracaError(f"{path} is not a hop curve: its columns are {reader.fieldnames}")
            rows = [{key: float(value or "nan") for key, value in row.items()} for row in reader]
    except (OSError, ValueError) as error:
        raise OstracaError(f"{path} cannot be read ({error}); `ostraca curve` writes it") from error
    if not rows:
        raise OstracaError(f"{path} has no rows yet; wait for the run's first evaluation")
    return rows


@final
class Wandb:
    """A Weights & Biases run; does nothing where it is not enabled."""

    def __init__(
        self, settings: WandbSettings, config: Mapping[str, Any], folder: Path, goes_on: bool = False
    ) -> None:
        self._run: Any = None
        if not settings.enabled:
            return
        try:
            import wandb as library
        except ModuleNotFoundError as error:
            raise OstracaError(
                "logging.wandb.enabled=true needs wandb: pip install 'ostraca[wandb]', or leave it out"
            ) from error
        start: Any = library.init
        try:
            self._run = start(
                project=settings.project,
                entity=settings.entity,
                name=settings.name or folder.name,
                mode=settings.mode,
                config=dict(config),
                dir=str(folder),
                **_same_run(folder, goes_on and settings.mode == "online"),
            )
        except library.Error as error:
            raise OstracaError(
                f"wandb did not start ({' '.join(str(error).split())}); log in with `wandb login`, or set "
                "logging.wandb.mode=offline"
            ) from error

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Send `values` for `step`."""
        if self._run is not None:
            self._run.log(dict(values), step=step)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._run is not None:
            self._run.finish(exit_code=0 if kind is None else 1)


def _same_run(folder: Path, goes_on: bool) -> dict[str, str]:
    """What makes a run that goes on the same one at Weights & Biases: an id that stays in its folder."""
    kept = folder / ".run" / "wandb"
    known = kept.read_text().strip() if goes_on and kept.exists() else secrets.token_hex(8)
    kept.parent.mkdir(exist_ok=True)
    kept.write_text(known + "\n")
    return {"id": known, **({"resume": "allow"} if goes_on else {})}


@final
class TensorBoard:
    """Event files for TensorBoard in a folder; nothing where it is not wanted."""

    def __init__(self, wanted: bool, folder: Path, up_to: int | None = None) -> None:
        self._writer: Any = None
        if not wanted:
            return
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ModuleNotFoundError as error:
            raise OstracaError(
                "logging.tensorboard=true needs tensorboard: pip install 'ostraca[tensorboard]', "
                "or leave it out"
            ) from error
        make: Any = SummaryWriter
        # Of a run that goes on, what was written after its checkpoint comes again: TensorBoard drops it.
        self._writer = make(str(folder / "tensorboard"), purge_step=0 if up_to is None else up_to + 1)

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Write `values` for `step`."""
        if self._writer is not None:
            for name, value in values.items():
                self._writer.add_scalar(name, value, step)
            self._writer.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._writer is not None:
            self._writer.close()
