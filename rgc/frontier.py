"""The frontier: due resources out of the ledger in windows, retries in their time, outcomes into the ledger in batches.

Runs on the event loop; the ledger itself is touched by one thread of its own. At most `window` resources are under way
between being handed out and being committed, so memory does not grow with the site and a slow disk slows the crawl.
"""

import asyncio
import heapq
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, TypeVar

from corpus_db.ledger import Ledger, Outcome, Task

Result = TypeVar("Result")
GATHER_S = 0.05  # before a batch is written: a transaction costs as much for one outcome as for twenty


class Try(NamedTuple):
    """One attempt at a task; `path` differs from the task's own after a redirection."""

    task: Task
    path: str
    attempt: int = 1
    redirects: int = 0


class Frontier:
    """Hands out tries and takes outcomes."""

    def __init__(self, ledger: Ledger, window: int, on_failure: Callable[[Exception], None]):
        self.ledger, self.window, self.on_failure = ledger, window, on_failure
        self.under_way: set[int] = set()
        self.done: Counter[str] = Counter()  # committed outcomes by kind
        self.stopped = False
        self._ready: deque[Task] = deque()
        self._waiting: list[tuple[float, int, Try]] = []  # retries by time; the number only breaks ties
        self._count = 0
        self._outcomes: list[Outcome] = []
        self._writing: asyncio.Task[None] | None = None
        self._news = asyncio.Event()  # something was committed or is to be retried
        self._pause_until = 0.0
        self._thread = ThreadPoolExecutor(1, "ledger")

    async def tries(self, kind: str | None = None, count: int | None = None) -> AsyncIterator[Try]:
        """Every due resource, of one kind or all, until none is left or `count` were handed out; retries among them."""
        left = count
        while not self.stopped:
            now = time.monotonic()
            if now < self._pause_until:
                await self._wait(self._pause_until - now)
            elif self._waiting and self._waiting[0][0] <= now:
                yield heapq.heappop(self._waiting)[2]
            elif len(self.under_way) < self.window and left != 0 and await self._fill(kind, left):
                task = self._ready.popleft()
                self.under_way.add(task.id)
                left = None if left is None else left - 1
                yield Try(task, task.path)
            elif self.under_way:
                await self._wait(self._waiting[0][0] - now if self._waiting else None)
            else:
                return

    async def _fill(self, kind: str | None, count: int | None) -> bool:
        if self._ready:
            return True
        size = min(self.window, count or self.window)
        self._news.clear()
        found = await self._in_thread(lambda: self.ledger.due(size, kind, self.under_way))
        self._ready.extend(found)
        return bool(found)

    async def _wait(self, seconds: float | None) -> None:
        """Until there is news, at most `seconds`."""
        try:
            await asyncio.wait_for(self._news.wait(), seconds)
        except TimeoutError:
            return
        self._news.clear()

    def again(self, attempt: Try, delay_s: float) -> None:
        """Try once more, in `delay_s` seconds."""
        self._count += 1
        heapq.heappush(self._waiting, (time.monotonic() + delay_s, self._count, attempt))
        self._news.set()

    def pause(self, seconds: float) -> None:
        """Hand nothing out for a while."""
        self._pause_until = max(self._pause_until, time.monotonic() + seconds)

    def settle(self, outcome: Outcome) -> None:
        """Take an outcome; it is committed with those that arrive while an earlier batch is being written."""
        self._outcomes.append(outcome)
        if self._writing is None:
            self._writing = asyncio.get_running_loop().create_task(self._write())

    async def _write(self) -> None:
        try:
            while self._outcomes:
                await asyncio.sleep(GATHER_S)
                batch, self._outcomes = self._outcomes, []
                await self._in_thread(lambda batch=batch: self.ledger.record(batch))  # type: ignore[misc]
                for outcome in batch:
                    self.under_way.discard(outcome.task.id)
                    self.done[outcome.task.kind] += 1
                self._news.set()
        except Exception as error:  # a full disk, a lost database: nothing more can be kept
            self.on_failure(error)
        finally:
            self._writing = None

    def stop(self) -> None:
        """Hand out nothing more."""
        self.stopped = True
        self._news.set()

    async def count_due(self) -> int:
        """How many known resources are still to be asked for."""
        return await self._in_thread(self.ledger.count_due)

    async def limit_cases(self, limit: int | None) -> int:
        """`Ledger.limit_cases`, in the ledger's thread."""
        return await self._in_thread(lambda: self.ledger.limit_cases(limit))

    async def close(self) -> None:
        """Commit what has arrived and end the thread."""
        self.stopped = True
        while self._writing:
            await asyncio.shield(self._writing)
        self._thread.shutdown()

    async def _in_thread(self, work: Callable[[], Result]) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)
