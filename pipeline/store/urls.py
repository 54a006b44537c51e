"""The store behind a URL: any that fsspec opens, e.g. s3://bucket/corpus. The only home of fsspec.

A store's options come from where its library looks for them (AWS_* variables, ~/.aws, fsspec's own
configuration); its retries are off where they would multiply with those here.
"""

from __future__ import annotations

import os
from typing import Any

from ...tasks.errors import ConfigError, nearest
from .errors import plain_reason

S3 = ("s3", "s3a")
ATOMIC = (*S3, "gs", "gcs", "az", "abfs", "abfss", "memory")  # an upload appears whole, at its end
SETTINGS = ("AWS_", "FSSPEC_", "GOOGLE_")  # variables that decide how a store is opened
EXTRAS = {"s3": ("s3fs", "s3"), "s3a": ("s3fs", "s3"), "gs": ("gcsfs", "gcs"), "gcs": ("gcsfs", "gcs")}
# The stores that this process has opened, with the settings that they were opened with. Never shared with a
# forked child: the thread that does an asynchronous store's work is not forked.
_STORES: dict[Any, Any] = {}


def open_store(url: str) -> tuple[Any, str]:
    """fsspec's file system for a URL and the path of the folder in it; ConfigError where there is none."""
    import fsspec
    import fsspec.config

    protocol, _, rest = url.partition("://")
    if "::" in url:
        raise ConfigError(f"{url}: a chain of stores (::) cannot be used; give the URL of one")
    if set("*?[") & set(rest):  # fsspec takes them for patterns
        raise ConfigError(f"{url}: a folder in a store cannot have * ? or [ in its name; choose another")
    if protocol in S3 and not rest.strip("/"):
        raise ConfigError(f"{url}: names no bucket; give {protocol}://bucket/folder")
    kind = _kind_of_store(url, protocol)
    given = fsspec.config.conf.get(protocol, {})
    try:
        options = kind._get_kwargs_from_urls(url)
        root = str(kind._strip_protocol(url)).rstrip("/")
        variables = tuple(sorted(item for item in os.environ.items() if item[0].startswith(SETTINGS)))
        key = (os.getpid(), protocol, repr(options), repr(given), variables)
        if key not in _STORES:
            if protocol in S3:
                options["max_concurrency"] = given.get("max_concurrency", 4)  # parts of 50 MiB in memory
                options["config_kwargs"] = {
                    "retries": {"total_max_attempts": 1},
                    **given.get("config_kwargs", {}),
                }
            # Not fsspec's own instance for these options: what is set below is not for others.
            store = kind(**options, skip_instance_cache=True)
            if protocol in S3:
                store.retries = 1
            store.dircache.use_listings_cache = False  # another process may have written since
            _STORES.setdefault(key, store)
    except Exception as error:  # whatever a store's library thinks of the URL or of its own settings
        raise ConfigError(plain_reason(error, url)) from error
    return _STORES[key], root


def _kind_of_store(url: str, protocol: str) -> Any:
    """fsspec's class for a protocol; ConfigError where it knows none, or its library is not installed."""
    import fsspec

    try:
        return fsspec.get_filesystem_class(protocol)
    except ValueError:
        near = nearest(protocol, fsspec.available_protocols())
        raise ConfigError(
            f"{url}: unknown protocol {protocol}://{near}; use a local path, s3://bucket/folder, "
            "gs://bucket/folder, memory://folder or another that fsspec knows"
        ) from None
    except ImportError as error:
        library, extra = EXTRAS.get(protocol, ("", ""))
        needs = f"{library}: pip install 'ostraca[{extra}]'" if library else f"a library: {error}"
        raise ConfigError(f"{url}: {protocol}:// needs {needs}") from None


def tidy(url: str) -> str:
    protocol, _, rest = url.partition("://")
    return f"{protocol}://{rest.rstrip('/')}"
