"""Progress of a crawl: one line that renews itself on a terminal, a plain line now and then elsewhere."""

import asyncio
import sys
import time

from rgc.frontier import Frontier

TERMINAL_S, PLAIN_S = 1.0, 15.0


async def report(frontier: Frontier) -> None:
    """Write progress to stderr until cancelled."""
    is_terminal = sys.stderr.isatty()
    began = time.monotonic()
    try:
        while True:
            await asyncio.sleep(TERMINAL_S if is_terminal else PLAIN_S)
            line = progress_line(frontier, await frontier.count_due(), time.monotonic() - began)
            print(
                f"\r\x1b[K{line}" if is_terminal else line, end="" if is_terminal else "\n", file=sys.stderr, flush=True
            )
    finally:
        if is_terminal:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def progress_line(frontier: Frontier, due: int, seconds: float) -> str:
    """Counts, the rate and, from what is known so far, the time left."""
    done = frontier.done
    rate = sum(done.values()) / seconds
    left = f"{due / rate / 60:.0f} min" if rate and due / rate >= 90 else f"{due / rate:.0f} s" if rate else "?"
    return f"{done['encounter']} cases, {done['image']} images, {rate:.1f}/s; {due} known to go, about {left}"
