"""How far a long pass has come: a bar with rate and time left on a terminal, a plain line now and then elsewhere."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sized
from typing import TypeVar

PLAIN_SECONDS = 15.0  # between two plain lines
Chunk = TypeVar("Chunk", bound=Sized)


def told(chunks: Iterable[Chunk], total: int, what: str, say: Callable[[str], None]) -> Iterator[Chunk]:
    """The chunks as they are; after each it is told how many of `total` they make, as `{done} of {total} {what}`."""
    if sys.stderr.isatty():
        from tqdm import tqdm

        with tqdm(total=total, desc=what, leave=False, dynamic_ncols=True) as bar:
            for chunk in chunks:
                yield chunk
                bar.update(len(chunk))
        return
    began = last = time.monotonic()
    done = 0
    for chunk in chunks:
        yield chunk
        done += len(chunk)
        now = time.monotonic()
        if now - last >= PLAIN_SECONDS and done < total:
            last, rate = now, done / (now - began)
            say(f"{done} of {total} {what}, {rate:.0f} a second, {_left((total - done) / rate)} left")


def _left(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.0f} s"
