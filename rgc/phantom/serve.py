"""Serve a sample in the shape of MedPix's REST API, on the loopback interface only.

    python -m rgc.phantom.serve DIR --port 0      # prints: serving http://127.0.0.1:PORT (N cases, N images)

Every URL is looked up in a dictionary that is filled at the start: no path is ever made from a request.
"""

from __future__ import annotations

import argparse
import hashlib
import http
import json
import os
import signal
import sys
import threading
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

PUBLISHED = "Sat, 01 Jan 2022 00:00:00 GMT"
JSON, TEXT = "application/json;charset=UTF-8", "text/plain;charset=UTF-8"
PARAMETER = {
    "/rest/encounter/diagnosis.json": "diagnosis",
    "/rest/encounter.json": "encounterID",
    "/rest/topic.json": "topicID",
    "/rest/image.json": "imageID",
}


class Answer(NamedTuple):
    """What a URL answers: bytes, or a file that was found at the start."""

    status: int
    kind: str
    body: bytes = b""
    file: Path | None = None


class Site:
    """All answers of a sample, by URL."""

    def __init__(self, directory: Path) -> None:
        self.answers = {"/robots.txt": Answer(200, TEXT, b"User-agent: *\nDisallow:\n")}
        self.diagnoses: list[tuple[str, str]] = []
        self.images = 0
        self._etags: dict[str, str] = {}
        for topic in _lines(directory / "topics.jsonl"):
            self._add(f"/rest/topic.json?topicID={topic['topicID']}", topic)
        for case in _lines(directory / "encounters.jsonl"):
            self._add(f"/rest/encounter.json?encounterID={case['encounterID']}", case)
            self.diagnoses.append((case["encounterID"], case["diagnosis"]))
            for image in case["imageList"]:
                self._add(f"/rest/image.json?imageID={image['imageID']}", {"imageURL": image["imageURL"]})
        for file in sorted((directory / "images").iterdir()):
            kind = "image/jpeg" if file.suffix == ".jpg" else "image/png"
            for folder in ("full", "thumbs"):
                self.answers[f"/images/{folder}/{file.name}"] = Answer(200, kind, file=file)
            self.images += 1

    def _add(self, url: str, body: dict[str, Any]) -> None:
        self.answers[url] = Answer(200, JSON, json.dumps(body, ensure_ascii=False).encode())

    def find(self, target: str) -> tuple[str, Answer]:
        """The canonical URL and the answer of a request target."""
        path, _, query = target.partition("?")
        name = PARAMETER.get(path)
        if name is None:
            return path, self.answers.get(path, Answer(404, TEXT, b"Nothing is here.\n"))
        value = dict(urllib.parse.parse_qsl(query)).get(name, "").lower()
        url = f"{path}?{name}={value}"
        if name == "diagnosis" and value:
            rows = [{"encounterID": i, "diagnosis": text} for i, text in self.diagnoses if value in text.lower()]
            return url, Answer(200, JSON, json.dumps(rows, ensure_ascii=False).encode())
        return url, self.answers.get(url, Answer(404, TEXT, b"Nothing is here.\n"))

    def etag(self, url: str, body: bytes) -> str:
        """A strong ETag; of a file it is remembered."""
        if url not in self._etags:
            self._etags[url] = f'"{hashlib.sha256(body).hexdigest()}"'
        return self._etags[url]


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = 75
    server: Server

    def do_GET(self) -> None:
        """Answer a GET or a HEAD."""
        url, answer = self.server.site.find(self.path)
        body = answer.file.read_bytes() if answer.file else answer.body
        headers: dict[str, str] = {}
        status = answer.status
        if status == 200:
            headers["ETag"] = self.server.site.etag(url, body)
            asked = self.headers.get("If-None-Match")
            if answer.file:
                headers["Last-Modified"] = PUBLISHED
                asked = asked or self.headers.get("If-Modified-Since")
            if asked and (headers["ETag"] in asked or asked == headers.get("Last-Modified")):
                status, body = 304, b""
        self._send(status, answer.kind, body, headers)

    do_HEAD = do_GET

    def _refuse_method(self) -> None:
        self.close_connection = True  # a body may follow, unread
        self._send(405, TEXT, b"Only GET and HEAD are served.\n", {"Allow": "GET, HEAD"})

    do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = _refuse_method

    def _send(self, status: int, kind: str, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(http.HTTPStatus(status))
        if status != 304:
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Connection", "close" if self.close_connection else "keep-alive")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: the crawler's ledger is the record."""


class Server(ThreadingHTTPServer):
    """A thread a connection, on 127.0.0.1."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, site: Site, port: int) -> None:
        self.site = site
        super().__init__(("127.0.0.1", port), Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is no error of the server's."""
        if not isinstance(sys.exception(), (ConnectionError, TimeoutError)):
            super().handle_error(request, client_address)


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]


def _end_with_parent() -> None:
    """End when stdin closes, which happens however the parent dies."""
    while os.read(0, 4096):
        pass
    os._exit(0)


def main() -> None:
    """Serve until SIGTERM, Ctrl-C or, with --with-parent, the end of stdin."""
    parser = argparse.ArgumentParser(description="Serve a sample in MedPix's REST shape on a loopback port.")
    parser.add_argument("directory", type=Path)
    parser.add_argument("--port", type=int, default=8766, help="0 picks a free one (default: 8766)")
    parser.add_argument("--with-parent", action="store_true", help="end when stdin closes")
    options = parser.parse_args()
    for stop in (signal.SIGTERM, signal.SIGINT):
        signal.signal(stop, lambda *_: os._exit(0))
    try:
        site = Site(options.directory)
        server = Server(site, options.port)
    except (OSError, ValueError, KeyError, OverflowError) as error:
        sys.exit(f"cannot serve {options.directory}: {error}")
    if options.with_parent:
        threading.Thread(target=_end_with_parent, daemon=True).start()
    port = server.server_address[1]
    print(f"serving http://127.0.0.1:{port} ({len(site.diagnoses)} cases, {site.images} images)", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
