"""The one spider: asks for what the frontier hands out, retries what may yet come, and hands every outcome on."""

import asyncio
import json
import random
from collections.abc import AsyncIterator, Callable
from typing import Any

from scrapy import Request, Spider, exceptions, signals
from scrapy.crawler import Crawler
from scrapy.exceptions import IgnoreRequest
from scrapy.http import Response
from twisted.python.failure import Failure

from corpus_db.errors import UserError
from corpus_db.ledger import Ledger, Outcome
from corpus_db.reasons import REASONS, is_transient
from corpus_db.store import ImageStore
from rgc import settings
from rgc.classify import MAX_REDIRECTS, OPEN_I, REDIRECTS, Answer, classify, redirect, retry_after
from rgc.frontier import Frontier, Try
from rgc.parse import missing_fields
from rgc.pipelines import Arrival
from rgc.progress import report
from rgc.site import Refused, Site

LOST = {
    exceptions.DownloadTimeoutError: "timeout",
    exceptions.CannotResolveHostError: "name_not_found",
    exceptions.DownloadCancelledError: "too_large",  # nothing here cancels but DOWNLOAD_MAXSIZE
    exceptions.ResponseDataLossError: "short_body",
    exceptions.UnsupportedURLSchemeError: "other_scheme",
}
MAX_UNANSWERED = 20  # resources that failed for good, all for want of an answer: the site is away
GRACE_S = 3.0  # for answers under way when the crawl ends early
PREFLIGHT_CASES = 5  # one case may be broken; five in a row are a broken site


class CaseSpider(Spider):
    """Crawls one site through its ledger."""

    name = "cases"

    def __init__(
        self,
        site: Site,
        ledger: Ledger,
        store: ImageStore,
        limit: int | None,
        say: Callable[[str], None],
        before_cases: Callable[[int], None],
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.site, self.ledger, self.store, self.limit, self.say = site, ledger, store, limit, say
        self.before_cases = before_cases
        self.frontier = Frontier(ledger, settings.WINDOW, self.fail)
        self.trouble: Exception | None = None  # why the crawl ended early
        self.unanswered: list[int] = []  # the resources that failed in a row for want of an answer
        self.interrupted = False
        self.looked_at: dict[str, bool] = {}  # the preflight: kinds of answer that were readable

    @classmethod
    def from_crawler(cls, crawler: Crawler, *args: Any, **kwargs: Any) -> "CaseSpider":
        spider = super().from_crawler(crawler, *args, **kwargs)
        crawler.signals.connect(spider.frontier.close, signals.spider_closed)
        crawler.signals.connect(spider.broke, signals.spider_error)
        crawler.signals.connect(spider.broke, signals.item_error)
        return spider

    async def start(self) -> AsyncIterator[Request]:
        """The preflight (one list, one case), the lists, then everything."""
        progress = asyncio.create_task(report(self.frontier))
        try:
            async for request in self.requests(self.frontier.tries("list", 1)):
                yield request
            async for request in self.requests(self.frontier.tries("list")):
                yield request
            total = await self.frontier.limit_cases(self.limit)
            if not self.frontier.stopped:
                self.before_cases(total)
            for _ in range(PREFLIGHT_CASES):
                if not self.looked_at.get("encounter"):
                    async for request in self.requests(self.frontier.tries("encounter", 1)):
                        yield request
            if self.looked_at.get("encounter") is False and not self.frontier.stopped:
                self.say(f"None of {PREFLIGHT_CASES} cases could be read; going on, see the summary.")
            async for request in self.requests(self.frontier.tries()):
                yield request
        except Exception as error:  # the ledger failed; Scrapy would log it and end as if all were well
            self.fail(error)
        finally:
            progress.cancel()

    async def requests(self, tries: AsyncIterator[Try]) -> AsyncIterator[Request]:
        """Turn tries into requests; a kept resource is asked for on condition that it changed.

        Lists and cases are asked for in full: "not modified" would not say again what they name.
        """
        async for attempt in tries:
            task, headers = attempt.task, {}
            if task.sha256 and task.kind in ("image", "topic"):
                known = {"If-None-Match": task.etag, "If-Modified-Since": task.last_modified}
                headers = {name: value for name, value in known.items() if value}
            yield Request(
                self.site.url(attempt.path),
                self.parse,
                headers=headers,
                errback=self.lost,
                dont_filter=True,
                cb_kwargs={"attempt": attempt},
            )

    def parse(self, response: Response, attempt: Try) -> list[Arrival]:
        """An answer came."""
        headers = {
            name.decode("latin-1").lower(): values[-1].decode("latin-1") for name, values in response.headers.items()
        }
        if response.status in REDIRECTS:
            return self.follow(attempt, headers.get("location", ""), response.status)
        answer = Answer(attempt.task, response.status, headers, response.body, attempt.attempt)
        outcome = classify(answer, self.site, self.ledger.withdrawn)
        if self.retried(attempt, outcome, retry_after(headers)):
            return []
        is_image = outcome.status == "ok" and attempt.task.kind == "image" and response.status == 200
        declared = headers.get("content-type", "").partition(";")[0].strip().lower()
        return self.conclude(outcome, response.body if is_image else None, declared)

    def follow(self, attempt: Try, location: str, status: int) -> list[Arrival]:
        """A redirection: once more elsewhere on the site, or refused."""
        outcome = Outcome(attempt.task, "failed", "redirect_loop", status, attempts=attempt.attempt)
        try:
            path = redirect(attempt.path, location, self.site)
        except Refused:
            outcome.status, outcome.reason = "refused", "redirect_away"
        else:
            if path != attempt.path and attempt.redirects < MAX_REDIRECTS:
                self.frontier.again(attempt._replace(path=path, redirects=attempt.redirects + 1), 0)
                return []
        return self.conclude(outcome)

    def lost(self, failure: Failure) -> list[Arrival]:
        """No whole answer came."""
        attempt: Try = failure.request.cb_kwargs["attempt"]  # type: ignore[attr-defined]
        reason = failure_reason(failure)
        outcome = Outcome(attempt.task, REASONS[reason].status, reason, attempts=attempt.attempt)
        if self.frontier.stopped or self.retried(attempt, outcome, None):
            return []
        return self.conclude(outcome)

    def retried(self, attempt: Try, outcome: Outcome, wait_s: float | None) -> bool:
        """Put a resource back that failed for a transient reason, as long as it has attempts left."""
        if not is_transient(outcome.reason) or attempt.attempt >= settings.MAX_ATTEMPTS:
            return False
        if wait_s is not None and wait_s > settings.MAX_WAIT_S:
            self.fail(UserError(f"{self.site.base}: asks to come back in {wait_s:.0f} s; run the same command then"))
            return True
        if wait_s is None:
            base = 0.1 if self.site.is_loopback else settings.DELAY_S
            wait_s = base * 2**attempt.attempt * random.uniform(0.8, 1.2)
        elif not self.site.is_loopback:
            self.frontier.pause(wait_s)  # the whole site asked for rest, not one resource
        self.frontier.again(attempt._replace(attempt=attempt.attempt + 1), wait_s)
        return True

    def conclude(self, outcome: Outcome, body: bytes | None = None, declared_type: str = "") -> list[Arrival]:
        """Hand an outcome on, unless it shows that the crawl had better end: then the resource stays due."""
        self.look(outcome)
        return [Arrival(outcome, body, declared_type)] if self.trouble is None else []

    def look(self, outcome: Outcome) -> None:
        """Learn from an outcome how the site is: the preflight's first answers, and whether it still answers at all."""
        kind, is_ok = outcome.task.kind, outcome.status == "ok"
        says = REASONS[outcome.reason].says if outcome.reason else ""
        if kind in ("list", "encounter") and not self.looked_at.get(kind):
            if kind == "list" and not is_ok and kind not in self.looked_at:
                address = self.site.url(outcome.task.path)
                what = "an Open-i" if self.site.shape == OPEN_I else "a MedPix"
                self.fail(UserError(f"{address}: no list of cases ({says}): not {what} site, or away"))
            self.looked_at[kind] = is_ok
            missing = missing_fields(kind, json.loads(outcome.body)) if is_ok and outcome.body else []
            if missing:
                self.say(f"Preflight: a {kind} here lacks {', '.join(missing)}; going on without.")
        if outcome.http_status is None and is_transient(outcome.reason):
            self.unanswered.append(outcome.task.id)
            if len(self.unanswered) >= MAX_UNANSWERED:
                self.fail(UserError(f"{self.site.base}: stopped answering ({says}); run the same command to go on"))
        else:
            self.unanswered.clear()

    def fail(self, error: Exception) -> None:
        """End the crawl early; what is under way stays due."""
        self.trouble = self.trouble or error
        self.end_early()

    def broke(self, failure: Failure) -> None:
        """An answer could not be dealt with (a full disk, a defect): Scrapy would log it, and the resource hang."""
        error = failure.value
        self.fail(error if isinstance(error, Exception) else RuntimeError(repr(error)))

    def end_early(self) -> None:
        """Ask for nothing more, keep what has arrived, and end within seconds whatever the site does."""
        if self.frontier.stopped:
            return
        self.frontier.stop()
        loop = asyncio.get_running_loop()
        engine = self.crawler.engine
        self.ending = loop.create_task(engine.close_spider_async(reason="ended early")) if engine else None
        loop.call_later(GRACE_S, lambda: loop.create_task(self.leave()))

    async def leave(self) -> None:
        """End without the answers that have not come."""
        from twisted.internet import reactor as installed  # not before Scrapy has installed the one it wants

        reactor: Any = installed

        await self.frontier.close()
        if reactor.running:
            reactor.crash()  # stop() would wait for the answers, too
            reactor.getThreadPool().stop()  # which it would have done; its threads would keep the process


def failure_reason(failure: Failure) -> str:
    """The ledger's word for why no whole answer came."""
    if failure.check(IgnoreRequest):
        return "robots" if "robots" in str(failure.value) else "too_large"  # the other raiser: decompressed too far
    return next((reason for error, reason in LOST.items() if failure.check(error)), "connection_lost")
