"""The folder of a corpus in a store: any that fsspec opens by a URL, e.g. s3://bucket/corpus."""

from __future__ import annotations

import hashlib
import io
import os
import secrets
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import IO, Any, TypeVar

from ...tasks.core.litter import is_litter
from ...tasks.errors import OstracaError
from .atomic import TEMPORARY, HashingFile, is_ours, is_temporary, known
from .atomic import plain_reason as plain_local_reason
from .errors import PATIENCE, Patience, TornError, answer_of, is_missing, repeat
from .fence import Fence, require_lately
from .lease import TERM, Term, hold, owner_of
from .objects import ReadingFile, md5_of, stamp_of
from .urls import ATOMIC, S3, open_store, tidy

T = TypeVar("T")

SPOOLED = 64 << 20  # bytes of a file that are kept in memory until they are sent
BLOCK = 4 << 20  # bytes of one read ahead
# An attempt that takes longer than this many seconds, and one more for so many bytes, has hung.
PATIENT, SLOWEST = 60.0, 512 << 10


class RemoteFolder:
    """A folder of a store. See `Folder`. Threads may share it; it is pickled as its URL.

    A file is kept locally (in memory, or nameless in the folder for temporary files) until it is whole, then
    sent whole and compared with what stands in the store: size, and MD5 where the store tells it. S3, GCS and
    Azure show an object when it is whole, never before. Any other store gets it under a temporary name, and
    moves it to its own when it is whole; that is as atomic as the store's move.
    """

    def __init__(
        self, url: str, patience: Patience = PATIENCE, term: Term = TERM, fence: Fence | None = None
    ) -> None:
        self._url = tidy(url)
        self._fence = fence
        self._patience = patience
        self._term = term
        self._protocol = url.partition("://")[0]
        self._etags_are_md5 = True
        self._process = os.getpid()
        self._store, self._root = open_store(self._url)

    def __str__(self) -> str:
        return self._url

    def __reduce__(self) -> tuple[Any, ...]:
        return RemoteFolder, (self._url, self._patience, self._term, self._fence)

    @property
    def url(self) -> str:
        return self._url

    def fenced(self, fence: Fence) -> RemoteFolder:
        return RemoteFolder(self._url, self._patience, self._term, fence)

    def _allowed(self, *, lately: bool = True) -> None:
        """LostLockError where the lock is lost. lately: a look of a moment ago will do."""
        if self._fence is not None:
            fresh = self._term.expires / 60 if lately else 0.0
            require_lately(self._fence, self._url, lambda path: owner_of(self, path), fresh)

    @contextmanager
    def create(self, path: str, *, new: bool = False) -> Iterator[HashingFile]:
        with tempfile.SpooledTemporaryFile(max_size=SPOOLED) as spool:
            file = HashingFile(spool)
            try:
                yield file
            except OSError as error:
                where = error.filename or f"{tempfile.gettempdir()} (TMPDIR), for {self}/{path}"
                raise OstracaError(plain_local_reason(error, where)) from error
            self._upload(path, spool, file, new)

    def move(self, source: str, target: str) -> None:
        def attempt() -> None:
            self._allowed()
            size = self.size(source)
            if size is None:
                if self.size(target) is None:
                    raise FileNotFoundError(source)
                return  # moved by a first try whose answer was lost
            if self._protocol in ATOMIC:
                self._once("cp_file", self._full(source), self._full(target), moved=size)
                if self.size(target) != size:
                    raise TornError("the copy's size differs")
                self._once("rm_file", self._full(source))
            else:
                self._once("makedirs", self._full(target).rpartition("/")[0], exist_ok=True)
                self._once("mv", self._full(source), self._full(target))

        self._retried(target, attempt)

    def open(self, path: str) -> IO[bytes]:
        stamp = self.stamp(path)
        if stamp is None:
            raise OstracaError(f"{self._where(path)}: no such file or folder")
        file = ReadingFile(lambda start, stop: self._exactly(path, start, stop), stamp[0])
        return io.BufferedReader(file, buffer_size=BLOCK)

    def read(self, path: str) -> bytes:
        return self._retried(path, lambda: self._part(path, 0, None))

    def read_range(self, path: str, start: int, stop: int) -> bytes:
        return self._retried(path, lambda: self._part(path, start, max(start, stop)))

    def read_known(self, path: str, start: int, stop: int, digest: bytes) -> bytes | None:
        return known(self.read_range(path, start, stop), digest)

    def size(self, path: str) -> int | None:
        stamp = self.stamp(path)
        return None if stamp is None else stamp[0]

    def stamp(self, path: str) -> tuple[int, str] | None:
        return self._retried(path, lambda: stamp_of(self._info(path)))

    def sha256(self, path: str) -> str:
        def attempt() -> str:
            before = stamp_of(self._info(path))
            if before is None:
                raise FileNotFoundError(path)
            digest = hashlib.sha256()
            for start in range(0, before[0], 4 * BLOCK):
                digest.update(self._exactly(path, start, min(start + 4 * BLOCK, before[0])))
            if stamp_of(self._info(path)) != before:
                raise TornError("it was rewritten while being read")
            return digest.hexdigest()

        return self._retried(path, attempt)

    def names(self, below: str = "") -> list[str]:
        return [name for name in self._all_names(below) if is_ours(name)]

    def exists(self) -> bool:
        def attempt() -> bool:
            try:
                listed = self._once("ls", self._root, detail=False)
            except OSError as error:
                if is_missing(error):
                    return False
                raise
            return any(name.strip("/") != self._root.strip("/") for name in listed)

        return self._retried("", attempt)

    def remove(self, path: str) -> None:
        def attempt() -> None:
            self._allowed()
            try:
                self._once("rm_file", self._full(path))
            except OSError as error:
                if not is_missing(error):
                    raise

        self._retried(path, attempt)

    def remove_all(self, below: str) -> None:
        self._allowed()
        held = None if self._fence is None else self._fence.path  # goes when it is released
        self._remove_each([name for name in self._all_names(below) if name != held])
        if self._protocol not in ATOMIC:  # its folders are there without files in them
            self._retried(below, lambda: self._remove_folders(below))

    def remove_unfinished(self) -> None:
        self._allowed()
        unfinished = [name for name in self._all_names("") if is_temporary(Path(name))]
        self._remove_each([name for name in unfinished if not is_litter(name)])
        if self._protocol in S3:
            self._retried("", self._abort_uploads)

    def lock(self, path: str) -> AbstractContextManager[str]:
        return hold(self, path, self._create_new, self._term)

    def _where(self, path: str) -> str:
        return f"{self}/{path}" if path else str(self)

    def _full(self, path: str) -> str:
        return f"{self._root}/{path}" if path else self._root

    def _retried(self, path: str, attempt: Callable[[], T]) -> T:
        return repeat(attempt, self._where(path), self._patience)

    def _once(self, method: str, *arguments: Any, moved: int = 0, **options: Any) -> Any:
        """One call of a method of fsspec; TimeoutError where it hangs. `moved`: the bytes that it moves."""
        import fsspec.asyn

        if self._process != os.getpid():
            self._process = os.getpid()
            self._store, self._root = open_store(self._url)
        store = self._store
        store.invalidate_cache()
        if store.async_impl and hasattr(store, f"_{method}"):
            limit = PATIENT + moved / SLOWEST
            do = getattr(store, f"_{method}")
            return fsspec.asyn.sync(store.loop, do, *arguments, timeout=limit, **options)
        return getattr(store, method)(*arguments, **options)

    def _info(self, path: str) -> dict[str, Any] | None:
        """What the store says of a file; None where there is none."""
        try:
            info = self._once("info", self._full(path))
        except OSError as error:
            if is_missing(error):
                return None
            raise
        return info if info["type"] == "file" else None

    def _part(self, path: str, start: int, stop: int | None) -> bytes:
        """The bytes start..stop-1 of a file, or all from `start`; fewer only where the file ends."""
        try:
            data: bytes = b""
            if start != stop:
                moved = SPOOLED if stop is None else stop - start
                data = self._once("cat_file", self._full(path), start=start, end=stop, moved=moved)
        except Exception as error:
            if answer_of(error)[0] != 416:  # a range beyond the end
                raise
        if stop is None or len(data) != stop - start or not data:
            info = self._info(path)
            if info is None:
                raise FileNotFoundError(path)
            size = info["size"]
            expected = max(0, (size if stop is None else min(stop, size)) - start)
            if len(data) != expected:
                raise TornError(f"{len(data)} of {expected} bytes arrived")
        return data

    def _exactly(self, path: str, start: int, stop: int) -> bytes:
        """The bytes start..stop-1 of a file that is known to be so long."""

        def attempt() -> bytes:
            data: bytes = self._once("cat_file", self._full(path), start=start, end=stop, moved=stop - start)
            if len(data) != stop - start:
                raise TornError(f"{len(data)} of {stop - start} bytes arrived")
            return data

        return self._retried(path, attempt)

    def _upload(self, path: str, spool: IO[bytes], file: HashingFile, new: bool) -> None:
        """Send a file until what stands in the store is what was written; else leave nothing torn."""
        atomic = self._protocol in ATOMIC
        place = Path(path)
        target = path if atomic else str(place.with_name(f".{place.name}{TEMPORARY}{secrets.token_hex(6)}"))
        before = self.stamp(target)

        def attempt() -> None:
            self._allowed()
            if not atomic:
                self._once("makedirs", self._full(path).rpartition("/")[0], exist_ok=True)
            stood = self._send(target, spool, file.size, new and atomic)
            try:
                self._check_whole(target, spool, file, sent=not stood)
            except TornError:
                if stood:  # what a killed build left; or another's, and then the lock is lost
                    self._allowed(lately=False)
                    self._once("rm_file", self._full(target))
                else:
                    self._drop_torn(target, spool, file, before)
                raise
            if not atomic:
                self._allowed()
                self._once("mv", self._full(target), self._full(path))
                self._check_whole(path, spool, file)

        try:
            self._retried(path, attempt)
        except OstracaError:
            self._drop_torn(target, spool, file, before)
            raise

    def _send(self, path: str, spool: IO[bytes], size: int, new: bool) -> bool:
        """Send a file. new: nothing is sent where one stands, if the store can tell; whether one stood."""
        options = {"mode": "create"} if new else {}
        spool.seek(0)
        try:
            if size <= SPOOLED:
                self._once("pipe_file", self._full(path), spool.read(), moved=size, **options)
            else:  # a nameless file has a name here
                self._once("put_file", f"/dev/fd/{spool.fileno()}", self._full(path), moved=size, **options)
        except Exception as error:
            stands = _stands_already(error) if new else False
            if stands is False:
                raise
            return stands or self._send(path, spool, size, new=False)
        return False

    def _check_whole(self, path: str, spool: IO[bytes], file: HashingFile, *, sent: bool = True) -> None:
        """TornError where what stands in the store is not what was written.

        sent: it was sent here, so without an MD5 its size tells; what stood already is read, every byte.
        """
        info = self._info(path)
        if info is None or info["size"] != file.size:
            stands = "nothing" if info is None else f"{info['size']} bytes"
            raise TornError(f"{file.size} bytes were sent, {stands} arrived")
        stored = md5_of(info) if self._etags_are_md5 else None
        if not sent if stored is None else stored != _md5_of_all(spool):
            # An encrypted object's ETag has the form of an MD5 and is none: the bytes decide, once.
            if self.sha256(path) != file.sha256:
                raise TornError("the bytes that arrived are not those sent")
            self._etags_are_md5 = self._etags_are_md5 and stored is None

    def _drop_torn(
        self, path: str, spool: IO[bytes], file: HashingFile, before: tuple[int, str] | None
    ) -> None:
        """Remove what a failed upload left, if it is not whole and not what stood there before."""
        unwanted = is_temporary(Path(path))
        with suppress(Exception):  # the store fails, or the lock is lost: more cannot be done
            self._allowed()
            if stamp_of(self._info(path)) in (None, before):
                return
            try:
                self._check_whole(path, spool, file)
            except TornError:
                unwanted = True
            if unwanted:
                self._once("rm_file", self._full(path))

    def _create_new(self, path: str, content: bytes) -> bool | None:
        """Write a file that is not there: whether it was made; None where the store has no such request."""
        if self._protocol not in ATOMIC:  # fsspec would look and then write, which is no such request
            return None

        def attempt() -> bool | None:
            try:
                self._once("pipe_file", self._full(path), content, mode="create")
            except Exception as error:
                known = _stands_already(error)
                if known is False:
                    raise
                return False if known else None
            return True

        return self._retried(path, attempt)

    def _all_names(self, below: str) -> list[str]:
        """The paths of all files, sorted; what stands for a folder in a store (a name with '/') left out."""

        def attempt() -> list[str]:
            try:
                listed = self._once("find", self._full(below))
            except OSError as error:
                if is_missing(error):
                    return []
                raise
            return list(listed)

        inside = f"{self._root}/"
        listed = self._retried(below, attempt)
        names = [name.removeprefix(inside) for name in listed if name.startswith(inside)]
        return sorted(name for name in names if name and not name.endswith("/") and name != below)

    def _remove_each(self, names: list[str]) -> None:
        # One by one: the stores' removal of many takes their names for patterns, and hides what failed.
        with ThreadPoolExecutor(max_workers=16) as pool:
            for _ in pool.map(self.remove, names):
                pass

    def _remove_folders(self, below: str) -> None:
        with suppress(FileNotFoundError):
            self._once("rm", self._full(below), recursive=True)

    def _abort_uploads(self) -> None:
        """Drop the parts of uploads below this folder that never ended; they cost money unseen."""
        bucket, _, prefix = self._root.partition("/")
        try:
            uploads = self._once("list_multipart_uploads", bucket)
        except PermissionError:  # a right that few need
            return
        for upload in uploads:
            if upload["Key"].startswith(f"{prefix}/" if prefix else ""):
                with suppress(FileNotFoundError):
                    self._once("abort_mpu", bucket, upload["Key"], upload["UploadId"])


def _stands_already(error: Exception) -> bool | None:
    """Whether no file was made since one stands there; None: the store cannot tell; False: another error."""
    if isinstance(error, FileExistsError) or (isinstance(error, OSError) and answer_of(error)[0] == 412):
        return True
    if isinstance(error, NotImplementedError | TypeError | ValueError):
        return None
    return None if isinstance(error, OSError) and answer_of(error)[0] == 501 else False


def _md5_of_all(spool: IO[bytes]) -> str:
    spool.seek(0)
    digest = hashlib.md5(usedforsecurity=False)
    while block := spool.read(BLOCK):
        digest.update(block)
    return digest.hexdigest()
