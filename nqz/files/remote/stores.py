"""File systems of fsspec, found by an address or an open object of it."""

from __future__ import annotations

import sys
from typing import Any

from nqz.files.remote.trouble import in_words
from nqz.ground.errors import InputError, NqzError, UsageError
from nqz.ground.urls import shown

_INSTALL = "pip install 'nqz[remote]'"
_HTTP = ("http", "https")


def find_store(url: str) -> tuple[Any, str]:
    """The file system of an address, and the path in it.

    Raises
    ------
    UsageError
        What is needed for it is not installed, or nothing knows such addresses.
    InputError
        The store cannot be reached, or does not like what it is told.
    """
    try:
        from fsspec.core import url_to_fs
    except ImportError:
        raise UsageError(
            f"{shown(url)}: needs a package that is not installed; install it with {_INSTALL}"
        ) from None
    protocol = url.partition("://")[0]
    try:
        options = _patient() if protocol.lower() in _HTTP else {}
        store, path = url_to_fs(url, **options)
    except ImportError as error:
        raise UsageError(
            f"{shown(url)}: needs a package that is not installed ({in_words(error)}); {_INSTALL} brings those for "
            f"http and s3, for others see docs/remote.md"
        ) from None
    except ValueError as error:
        if "rotocol" in str(error):
            raise UsageError(f"{shown(url)}: nothing knows how to open {protocol}://") from None
        raise _unreachable(url, error) from None
    except NqzError:
        raise
    except Exception as error:
        raise _unreachable(url, error) from None
    return store, str(path)


def _unreachable(url: str, error: Exception) -> InputError:
    return InputError(f"{shown(url)}: cannot open: {in_words(error)}")


def _patient() -> dict[str, Any]:
    """Options for http: a server that sends nothing is given up, not one that sends for long; proxies as usual."""
    import aiohttp

    timeout = aiohttp.ClientTimeout(total=None, sock_connect=30, sock_read=30)
    return {"client_kwargs": {"timeout": timeout, "trust_env": True}}


def store_of(value: Any) -> tuple[Any, str] | None:
    """The file system and path of an object of fsspec, open or to be opened; None for everything else."""
    spec = sys.modules.get("fsspec.spec")  # who has such an object has imported it
    store, path = getattr(value, "fs", None), getattr(value, "path", None)
    if spec is None or not isinstance(store, spec.AbstractFileSystem) or not isinstance(path, str):
        return None
    return store, path


def protocol_of(store: Any) -> str:
    """What the addresses of a file system begin with."""
    known = store.protocol
    return str(known if isinstance(known, str) else known[0])


def is_http(store: Any) -> bool:
    """Whether it is that of http."""
    return protocol_of(store) in _HTTP and hasattr(store, "set_session")


def shown_in(store: Any, path: str) -> str:
    """What messages call an object."""
    return shown(str(store.unstrip_protocol(path)))
