"""Stand before all pages: this machine alone, reading alone but for one address, nothing from elsewhere."""

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

Scope = Mapping[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]
App = Callable[[Any, Receive, Send], Awaitable[None]]

_LOOPBACK = re.compile(r"(127\.0\.0\.1|localhost|\[::1\])(:\d{1,5})?", re.ASCII | re.IGNORECASE)
_LONGEST_BODY = 100_000  # bytes
# Datasette's own pages need inline scripts; frame-ancestors and the rest keep other sites from showing or reading ours.
_HEADERS = {
    b"content-security-policy": (
        b"default-src 'none'; img-src 'self' data:; style-src 'self' 'unsafe-inline'; "
        b"script-src 'self' 'unsafe-inline'; connect-src 'self'; form-action 'self'; base-uri 'none'; "
        b"frame-ancestors 'none'"
    ),
    b"cross-origin-resource-policy": b"same-origin",
    b"referrer-policy": b"same-origin",
    b"x-content-type-options": b"nosniff",
    b"x-frame-options": b"DENY",
}
OUR_POLICY = (  # of pages whose scripts are files
    "default-src 'none'; img-src 'self' data:; style-src 'self' 'unsafe-inline'; script-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)


class Guard:
    """An ASGI application before another; `writes`: the paths that take a POST."""

    def __init__(self, app: App, writes: frozenset[str] = frozenset()):
        self.app, self.writes = app, writes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
        elif scope["type"] == "http":
            refused = self._refused(scope)
            if refused is None:
                await self.app(scope, receive, _with_headers(send))
            else:
                await _answer(send, *refused)

    def _refused(self, scope: Scope) -> tuple[int, str] | None:
        """The status and the words with which a request is turned away; None for one that may pass."""
        given: dict[str, list[str]] = {}
        for name, value in scope["headers"]:
            given.setdefault(name.decode("latin-1").lower(), []).append(value.decode("latin-1"))
        host = given.get("host", [])
        # a page of another site whose name was made to lead here (DNS rebinding) asks under that name
        if len(host) != 1 or not _LOOPBACK.fullmatch(host[0]):
            return 403, "this server answers on this machine alone: open it as http://127.0.0.1:PORT/"
        if scope["method"] in ("GET", "HEAD"):
            return None
        if scope["method"] != "POST" or scope["path"] not in self.writes:
            return 405, "nothing can be written here"
        return _refused_write(given, host[0])


def _refused_write(given: Mapping[str, list[str]], host: str) -> tuple[int, str] | None:
    origins = given.get("origin", [])
    strange = [origin for origin in origins if origin.lower() != f"http://{host.lower()}"]
    if strange or given.get("sec-fetch-site", ["same-origin"]) != ["same-origin"]:
        return 403, "sent from a page of another site"
    length = given.get("content-length", [""])[0]
    if not (length.isascii() and length.isdigit()) or int(length) > _LONGEST_BODY:
        return 413, f"at most {_LONGEST_BODY} bytes, of a length that is told"
    return None


def _with_headers(send: Send) -> Send:
    async def sending(message: Any) -> None:
        if message["type"] == "http.response.start":
            present = {name.lower() for name, _ in message.get("headers", [])}
            added = [[name, value] for name, value in _HEADERS.items() if name not in present]
            message = {**message, "headers": [*message.get("headers", []), *added]}
        await send(message)

    return sending


async def _answer(send: Send, status: int, words: str) -> None:
    body = f"{words}\n".encode()
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": [*headers, *_HEADERS.items()]})
    await send({"type": "http.response.body", "body": body})
