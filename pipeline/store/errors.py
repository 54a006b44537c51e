"""Errors of stores: which are worth another try, and what to tell the user. Imports no store's library."""

from __future__ import annotations

import errno
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

from ...tasks.errors import OstracaError

T = TypeVar("T")

# Known by name: each belongs to a library that need not be installed (botocore, aiohttp).
_TRANSIENT_NAMES = {
    "HTTPClientError",  # botocore: timed out, closed, reset
    "EndpointConnectionError",
    "ConnectTimeoutError",
    "ProxyConnectionError",
    "IncompleteRead",
    "IncompleteReadError",
    "ResponseParserError",  # an answer that is no XML, as some throttling is
    "FlexibleChecksumError",  # a body that is not what its checksum says
    "ClientConnectionError",
    "ClientPayloadError",
}
_NO_ANSWER_NAMES = {
    "EndpointConnectionError",
    "ConnectTimeoutError",
    "ReadTimeoutError",
    "ClientConnectionError",
}
_NO_CREDENTIALS_NAMES = {
    "NoCredentialsError",
    "PartialCredentialsError",
    "CredentialRetrievalError",
    "ProfileNotFound",
    "DefaultCredentialsError",  # google.auth
    "RefreshError",
}
_TRANSIENT_CODES = {
    "BadDigest",
    "ConditionalRequestConflict",
    "IncompleteBody",
    "InternalError",
    "OperationAborted",
    "RequestTimeout",
    "RequestLimitExceeded",
    "ServiceUnavailable",
    "SlowDown",
    "Throttling",
    "ThrottlingException",
    "XAmzContentChecksumMismatch",
    "XAmzContentSHA256Mismatch",
}
_NOT_AUTHORIZED_CODES = {"InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken"}
_TRANSIENT_ERRNOS = {
    errno.ECONNABORTED,
    errno.ECONNREFUSED,
    errno.ECONNRESET,
    errno.EHOSTUNREACH,
    errno.ENETUNREACH,
    errno.EPIPE,
    errno.ETIMEDOUT,
}


class TornError(Exception):
    """What arrived is not what was sent."""


@dataclass(frozen=True, kw_only=True)
class Patience:
    """How often to try, and how long to wait (seconds) between two tries: doubling, half of it at random."""

    attempts: int = 6
    first: float = 1.0
    longest: float = 20.0

    def delay(self, failures: int) -> float:
        """Seconds to wait after so many failures; at random, so that not all workers come back at once."""
        return min(self.longest, self.first * 2.0 ** (failures - 1)) * random.uniform(0.5, 1)


PATIENCE = Patience()


def repeat(attempt: Callable[[], T], where: str, patience: Patience) -> T:
    """The result of `attempt`, tried again on errors that pass; OstracaError with one line on all others."""
    failures = 0
    while True:
        try:
            return attempt()
        except OstracaError:
            raise
        except Exception as error:  # each store's library has errors of its own
            failures += 1
            if not is_transient(error) or failures >= patience.attempts:
                raise OstracaError(plain_reason(error, where, failures)) from error
            time.sleep(patience.delay(failures))


def is_transient(error: BaseException) -> bool:
    """Whether the same request may well succeed a little later."""
    if isinstance(error, TornError | TimeoutError | ConnectionError):
        return True
    status, code = answer_of(error)
    if code in _TRANSIENT_CODES or status in (408, 429) or (status >= 500 and status != 501):
        return True
    if isinstance(error, OSError) and error.errno in _TRANSIENT_ERRNOS:
        return True
    return _named(error, _TRANSIENT_NAMES)


def answer_of(error: BaseException) -> tuple[int, str]:
    """HTTP status and error code of the answer behind an error; 0 and '' where there is none."""
    for cause in _causes(error):
        response = getattr(cause, "response", None)
        if isinstance(response, dict):  # botocore's ClientError
            status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
            return int(status), str(response.get("Error", {}).get("Code", ""))
        status = getattr(cause, "code", None)  # gcsfs
        if isinstance(status, int) or (isinstance(status, str) and status.isdigit()):
            return int(status), ""
    return 0, ""


def is_missing(error: BaseException) -> bool:
    """Whether the file is not there, though the bucket may well be."""
    return isinstance(error, FileNotFoundError | NotADirectoryError) and answer_of(error)[1] != "NoSuchBucket"


def plain_reason(error: BaseException, where: str, attempts: int = 1) -> str:
    """What went wrong with a file of a store and what to do, in one line."""
    status, code = answer_of(error)
    text = " ".join(str(error).split()) or type(error).__name__
    tries = f"{attempts} attempt{'s' if attempts > 1 else ''}"
    if _named(error, _NO_CREDENTIALS_NAMES):
        return (
            f"{where}: no credentials for this store ({text}); give them as its library reads them, "
            "for s3:// AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE or ~/.aws"
        )
    if code == "NoSuchBucket":
        return f"{where}: there is no such bucket; create it first, or correct its name"
    if code in _NOT_AUTHORIZED_CODES or status == 401:
        return f"{where}: the store refuses these credentials ({text}); correct or renew them"
    if isinstance(error, PermissionError) or status == 403:
        return (
            f"{where}: access denied; the credentials must allow reading, writing, listing and deleting there"
        )
    if is_missing(error):
        return f"{where}: no such file or folder"
    if isinstance(error, NotImplementedError) or status == 501 or getattr(error, "errno", 0) == errno.ENOSYS:
        return f"{where}: this store cannot do that ({text}); choose another, e.g. s3:// or a local folder"
    if isinstance(error, TornError):
        return f"{where}: {text} ({tries}); check the network and the store, then run this again"
    if isinstance(error, TimeoutError | ConnectionError) or _named(error, _NO_ANSWER_NAMES):
        return (
            f"{where}: the store does not answer ({text}; {tries}); "
            "check the network and the endpoint (AWS_ENDPOINT_URL for s3://), then run this again"
        )
    if is_transient(error):
        return f"{where}: the store fails ({text}; {tries}); run this again later"
    return f"{where}: {text}"


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__


def _named(error: BaseException, names: set[str]) -> bool:
    kinds: list[Any] = [kind for cause in _causes(error) for kind in type(cause).__mro__]
    return any(kind.__name__ in names for kind in kinds)
