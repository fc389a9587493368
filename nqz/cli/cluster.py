"""``--cluster``: the workers of Dask, of a cluster that runs or of one started here; all that is known of it."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import click

from nqz.ground.errors import InputError, NqzError, UsageError
from nqz.ground.notices import tell
from nqz.ground.threads import MAX_THREADS

_LOCAL = re.compile(r"local:([1-9][0-9]{0,3})")
_ADDRESS = re.compile(r"(?:tcp|tls|ucx|ws|wss|inproc)://\S+")
_PATIENCE = 30
"""Seconds for a scheduler to answer, and for the first worker to come."""

_RETRIES = 3
"""How often a job may fail with its worker."""

_ALONE, _GONE = 10.0, 60.0
"""Seconds without any worker after which that is told; and after which none comes back that was started here."""

_ASKED = 1.0
"""Seconds between two looks."""


def cluster_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """Option of commands whose work may be done elsewhere: --cluster."""
    return click.option(
        "--cluster", metavar="ADDRESS|local:N",
        help="Let workers of Dask do what is large: those of a scheduler, such as tcp://HOST:8786, which see the same "
        "files, or N processes here. --threads is then how many each job takes, by default 1.",
    )(function)  # fmt: skip


@contextmanager
def executor_of(cluster: str | None) -> Iterator[Any]:
    """The executor that an option asks for; None without it.

    Raises
    ------
    UsageError
        It is no address, or Dask is not installed.
    InputError
        No scheduler answers, or it has no workers.
    """
    if cluster is None:
        yield None
        return
    here = _LOCAL.fullmatch(cluster)
    if (here is None or int(here[1]) > MAX_THREADS) and not _ADDRESS.fullmatch(cluster):
        raise UsageError(
            f"--cluster {cluster[:100]!r}: a scheduler of Dask, such as tcp://HOST:8786, or local:N is needed"
        )
    try:
        import distributed
    except ImportError:
        raise UsageError("--cluster: it takes the package distributed: pip install 'nqz[dask]'") from None
    import logging

    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    with ExitStack() as stack:
        try:
            address: Any = cluster
            if here is not None:
                address = stack.enter_context(
                    distributed.LocalCluster(
                        n_workers=int(here[1]), threads_per_worker=1, dashboard_address=None,
                        silence_logs=logging.CRITICAL,
                    )
                )  # fmt: skip
            client = stack.enter_context(distributed.Client(address, timeout=_PATIENCE, set_as_default=False))
            client.wait_for_workers(1, timeout=_PATIENCE)
        except (OSError, TimeoutError, ValueError) as error:
            raise InputError(
                f"--cluster {cluster}: no scheduler with workers answers: {' '.join(str(error).split())}"
            ) from None
        watch = stack.enter_context(_Watch(client, cluster, here is not None))
        try:
            yield client.get_executor(pure=False, retries=_RETRIES)
        except NqzError as error:
            if not watch.gone:
                raise
            raise NqzError(
                f"--cluster {cluster}: all workers were lost, and none came back in {_GONE:g} s; nothing was written: "
                "try again, with fewer workers if memory is short"
            ) from error


class _Watch:
    """Looks whether a cluster has workers: jobs wait for some for ever.

    Parameters
    ----------
    client : distributed.Client
    cluster : str
        What messages call it.
    ends : bool
        Whether jobs are given up when there are none for long.
    """

    def __init__(self, client: Any, cluster: str, ends: bool):
        self._client, self._cluster, self._ends = client, cluster, ends
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, name="nqz-cluster", daemon=True)
        self.gone = False

    def __enter__(self) -> _Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(_ASKED)

    def _look(self) -> None:
        since, told = time.monotonic(), False
        while not self._over.wait(_ASKED):
            try:
                there = bool(self._client.nthreads())
            except Exception:  # the scheduler is gone: jobs say so themselves
                there = True
            alone = time.monotonic() - since
            if there:
                since, told = time.monotonic(), False
            elif alone >= _ALONE and not told:
                told = True
                tell(f"--cluster {self._cluster}: it has no workers any more; waiting for one")
            if not there and self._ends and alone >= _GONE:
                self.gone = True
                self._give_up()

    def _give_up(self) -> None:
        """Cancel all jobs: whoever waits for one hears of it."""
        from distributed import Future

        self._client.cancel([Future(key, self._client) for key in list(self._client.futures)], force=True)
