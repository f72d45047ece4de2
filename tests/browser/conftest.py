"""Fixtures that open a page in a real Chromium and fail its test for what a person would not see."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page, Route

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
# QUIC, updates and sync would talk to the network by themselves
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
SIZES = {"phone": (390, 844), "desktop": (1280, 900)}
LOOKS: "tuple[tuple[str, str, Literal['light', 'dark']], ...]" = (
    ("phone", "phone", "light"),
    ("desktop", "desktop", "light"),
    ("desktop-dark", "desktop", "dark"),
)


def _stays_here(address: str) -> bool:
    parts = urlsplit(address)
    return parts.scheme in ("file", "data", "blob", "about") or parts.hostname in ("127.0.0.1", "localhost", "::1")


@pytest.fixture(scope="module")  # Playwright's loop must not outlive the file: later ones may run loops of their own
def chromium() -> "Iterator[Browser]":
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        pytest.skip("no Chromium here; on Debian: apt-get install chromium")
    sync_api = pytest.importorskip("playwright.sync_api", reason="no playwright here; make install has it")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, headless=True, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def open_page(chromium: "Browser") -> "Iterator[Callable[[str | Path], Page]]":
    """Open an address or a file; at the test's end no page may have had an error or asked for anything elsewhere."""
    problems: list[str] = []
    context = chromium.new_context(viewport={"width": 1280, "height": 900})
    _watch(context, problems)

    def open_(target: str | Path) -> "Page":
        page = context.new_page()
        page.goto(target.resolve().as_uri() if isinstance(target, Path) else target)
        return page

    yield open_
    for page in context.pages:
        page.wait_for_load_state()
    context.close()
    assert problems == []


def _watch(context: "BrowserContext", problems: list[str]) -> None:
    def refuse(route: "Route") -> None:
        problems.append(f"request beyond this machine: {route.request.url}")
        route.abort()

    context.route(lambda address: not _stays_here(address), refuse)
    context.on("weberror", lambda error: problems.append(f"page error: {error.error}"))
    context.on(
        "console",
        lambda said: problems.append(f"console: {said.text} ({said.location})") if said.type == "error" else None,
    )


@pytest.fixture
def shot(tmp_path: Path) -> "Callable[..., list[Path]]":
    """Keep pictures of a page for a person to look at, in the folder $RGC_SHOTS: phone, desktop, and in the dark."""
    folder = Path(os.environ.get("RGC_SHOTS") or tmp_path / "shots")
    folder.mkdir(parents=True, exist_ok=True)

    def keep(page: "Page", name: str, full: bool = False) -> list[Path]:
        before, kept = page.viewport_size, []
        for look, size, scheme in LOOKS:
            width, height = SIZES[size]
            page.set_viewport_size({"width": width, "height": height})
            page.emulate_media(color_scheme=scheme)
            kept.append(folder / f"{name}-{look}.png")
            page.screenshot(path=kept[-1], full_page=full)
        page.emulate_media(color_scheme="null")
        if before:
            page.set_viewport_size(before)
        return kept

    return keep
