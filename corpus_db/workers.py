"""Work on many images in processes, which end with their parent however it ends."""

import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context, parent_process
from typing import Generic, TypeVar

from corpus_db.errors import UserError

_CHUNK = 64  # of items a process takes at a time
_GRACE = 10.0  # seconds in which a parent has ended its workers
_INLINE = 128  # fewer than this are not worth starting processes for
In = TypeVar("In")
Out = TypeVar("Out")


def mapped(work: Callable[[Sequence[In]], list[Out]], items: Sequence[In]) -> Iterator[list[Out]]:
    """`work` over all items, a chunk at a time and in order, in processes where there are many; raises UserError."""
    chunks = [items[at : at + _CHUNK] for at in range(0, len(items), _CHUNK)]
    workers = os.cpu_count() or 1
    if len(items) <= _INLINE or workers == 1:
        yield from map(work, chunks)
        return
    with _killed_is_an_error(), processes(workers) as pool:
        yield from pool.map(work, chunks)


class Pool(Generic[In, Out]):
    """`work` in processes on lists that come one after the other; started with the first list of many items."""

    def __init__(self, work: Callable[[Sequence[In]], list[Out]], workers: int | None = None):
        self._work, self._workers = work, workers or os.cpu_count() or 1
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> "Pool[In, Out]":
        return self

    def __exit__(self, *error: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def submit(self, items: Sequence[In]) -> "Promise[Out]":
        """Begin with a list; its promise gives as many results, in order."""
        if self._workers == 1 or (self._pool is None and len(items) <= _INLINE):
            return Promise([_done(self._work, items)])
        self._pool = self._pool or processes(self._workers)
        size = -(-len(items) // (2 * self._workers)) or 1
        with _killed_is_an_error():
            return Promise([self._pool.submit(self._work, items[at : at + size]) for at in range(0, len(items), size)])


class Promise(Generic[Out]):
    """Results to come."""

    def __init__(self, parts: "Sequence[Future[list[Out]]]"):
        self._parts = parts

    def result(self) -> list[Out]:
        """All of them, once they are there; raises what the work raised."""
        with _killed_is_an_error():
            return [one for part in self._parts for one in part.result()]


def _done(work: Callable[[Sequence[In]], list[Out]], items: Sequence[In]) -> "Future[list[Out]]":
    future: Future[list[Out]] = Future()
    future.set_result(work(items))
    return future


def processes(workers: int) -> ProcessPoolExecutor:
    """A pool of processes that end with their parent."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # for the workers: each has a core, not all of them
    # spawn: a forked process would share the database's connections
    return ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_in_worker)


def _in_worker() -> None:
    """What asks a whole group to end, as Ctrl-C or a cluster does, is for the parent alone.

    One that died in the middle of a result would leave its parent waiting for the rest for ever.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: threading.Timer(_GRACE, os._exit, [1]).start())
    _end_with_parent()


@contextmanager
def _killed_is_an_error() -> Iterator[None]:
    try:
        yield
    except BrokenProcessPool as error:
        raise UserError(
            "a process that reads images was killed, most likely for want of memory; "
            "free some and run the same command again"
        ) from error


def _end_with_parent() -> None:
    """A killed parent cannot tell its workers to end: they would wait for work for ever."""

    def watch() -> None:
        parent = parent_process()
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
