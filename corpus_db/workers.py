"""Work on many images in processes, which end with their parent however it ends."""

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context, parent_process
from typing import TypeVar

from corpus_db.errors import UserError

_CHUNK = 64  # of items a process takes at a time
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
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # for the workers: each has a core, not all of them
    try:
        # spawn: a forked process would share the database's connections
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_end_with_parent) as pool:
            yield from pool.map(work, chunks)
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
