"""Scrapy's settings for a site: the manners of a public service, or full speed on this machine's own."""

import os
from typing import Any

from rgc.site import Site

ROBOT = "rgc-vlt"  # the name that robots.txt may call
CONTACT = os.environ.get("RGC_CONTACT", "no contact set")
DELAY_S = float(os.environ.get("RGC_DELAY", "1.0"))  # between two requests to a public site; AutoThrottle may raise it
EXTRA_HOSTS = frozenset(os.environ.get("RGC_IMAGE_HOSTS", "").split())
MAX_RESPONSE_BYTES = 64 * 2**20
MAX_ATTEMPTS = 5
TIMEOUT_S = 60
MAX_WAIT_S = 600  # a Retry-After beyond it ends the crawl for now
WINDOW = 128  # resources under way, from request to commit: what bounds memory
# Depth, referers and long addresses are no concern of a crawl that its ledger drives; each costs time at each response.
UNUSED_MIDDLEWARES = [
    f"scrapy.spidermiddlewares.{name}"
    for name in (
        "httperror.HttpErrorMiddleware",
        "referer.RefererMiddleware",
        "urllength.UrlLengthMiddleware",
        "depth.DepthMiddleware",
        "metacopy.MetaCopyDetectionMiddleware",
    )
]


def user_agent() -> str:
    """Who asks, and whom to write to."""
    return f"rgc-vlt/0.1 (radiology research corpus; contact: {CONTACT})"


def scrapy_settings(site: Site) -> dict[str, Any]:
    """Settings for one crawl of `site`."""
    shared = {
        "USER_AGENT": user_agent(),
        "ROBOTSTXT_OBEY": True,
        "ROBOTSTXT_USER_AGENT": ROBOT,
        "COOKIES_ENABLED": False,
        "TELNETCONSOLE_ENABLED": False,
        "CONCURRENT_ITEMS": 1,  # Scrapy starts this many tasks for each response, and ours yields one item
        "RETRY_ENABLED": False,  # retries, redirects and statuses are the ledger's business (rgc.spider)
        "REDIRECT_ENABLED": False,
        "HTTPERROR_ALLOW_ALL": True,
        "DOWNLOAD_TIMEOUT": TIMEOUT_S,
        "DOWNLOAD_MAXSIZE": MAX_RESPONSE_BYTES,
        "DOWNLOAD_WARNSIZE": 0,
        "SPIDER_MIDDLEWARES": dict.fromkeys(UNUSED_MIDDLEWARES),
        "LOG_INSTALL_ROOT_HANDLER": False,
        "LOG_LEVEL": "CRITICAL",  # what a user needs to know is said by rgc.crawl; failures are rows
        "ITEM_PIPELINES": {"rgc.pipelines.StorePipeline": 100, "rgc.pipelines.LedgerPipeline": 200},
        "EXTENSIONS": {"scrapy.extensions.logstats.LogStats": None},
    }
    if site.is_loopback:
        pace: dict[str, Any] = {"DOWNLOAD_DELAY": 0, "CONCURRENT_REQUESTS": 16, "CONCURRENT_REQUESTS_PER_DOMAIN": 16}
    else:
        pace = {
            "DOWNLOAD_DELAY": DELAY_S,
            "CONCURRENT_REQUESTS": 2,
            "CONCURRENT_REQUESTS_PER_DOMAIN": 1,
            "AUTOTHROTTLE_ENABLED": True,
            "AUTOTHROTTLE_START_DELAY": DELAY_S,
            "AUTOTHROTTLE_MAX_DELAY": 60.0,
            "AUTOTHROTTLE_TARGET_CONCURRENCY": 1.0,
        }
    return shared | pace
