"""Which site is crawled, and what an address on it may be: what leads off the site is refused, with a reason."""

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from corpus_db.errors import UserError

MEDPIX = "https://medpix.nlm.nih.gov"
DEFAULT_PORTS = {"http": 80, "https": 443}
UNSAFE = re.compile(r"[\x00-\x20\x7f-\x9f\\\ud800-\udfff]")


class Refused(Exception):
    """This address is not asked for; `reason` is a key of reasons.REASONS."""

    def __init__(self, reason: str):
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True)
class Site:
    """A server of MedPix's shape, or of Open-i's.

    `name` is the source's name in the database: it holds no port, so that a server that moves stays the same source.
    `hosts` are other hosts whose images may be fetched, too.
    """

    name: str
    base: str  # scheme://host[:port][/prefix], no slash at the end
    hosts: frozenset[str] = frozenset()
    shape: str = "medpix"  # of its answers: what reads them, in the crawl and in the build
    limit: int | None = None  # how many items of a search are asked for; of cases the ledger counts

    @property
    def is_loopback(self) -> bool:
        """Whether the server is on this machine."""
        return _is_loopback(urlsplit(self.base).hostname or "")

    def url(self, path: str) -> str:
        """The full address of a ledger path."""
        return path if path.startswith(("http://", "https://")) else self.base + path

    def resolve(self, address: str) -> str:
        """The site-relative path of an address that the site gave; of one on another allowed host, all of it.

        Raises Refused: another host, scheme or port, a path that climbs, characters that no address has.
        """
        address = address.strip()
        if not address or UNSAFE.search(address):
            raise Refused("bad_address")
        if re.match(r"//[^/.:]+/", address):  # one mirror doubles its slashes: //images/full/... is a path, not a host
            address = address[1:]
        try:
            parts = urlsplit(address)
            host, port = parts.hostname, parts.port
        except ValueError:
            raise Refused("bad_address") from None
        if parts.scheme and parts.scheme not in DEFAULT_PORTS:
            raise Refused("other_scheme")
        path = re.sub("/{2,}", "/", "/" + parts.path)
        if ".." in unquote(unquote(path)).replace("\\", "/").split("/"):
            raise Refused("path_traversal")
        path += f"?{parts.query}" if parts.query else ""
        if not parts.netloc:
            if parts.scheme:
                raise Refused("bad_address")
            return path
        if "@" in parts.netloc:
            raise Refused("other_host")
        return self._on_host(parts.scheme, host or "", port, path)

    def _on_host(self, scheme: str, host: str, port: int | None, path: str) -> str:
        base = urlsplit(self.base)
        scheme = scheme or base.scheme
        if host == base.hostname and _port(scheme, port) in (_port(base.scheme, base.port), *_both(base.port)):
            return path.removeprefix(base.path) if base.path else path
        if host in self.hosts and port in (None, DEFAULT_PORTS[scheme]):
            return f"{scheme}://{host}{path}"
        raise Refused("other_host")


def at_url(url: str, hosts: frozenset[str] = frozenset()) -> Site:
    """The site at a URL that a user gave; raises UserError where it is none."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise UserError(f"{url}: not an address ({error})") from None
    if (
        parts.scheme not in DEFAULT_PORTS
        or not host
        or UNSAFE.search(url)
        or "@" in parts.netloc
        or parts.query
        or parts.fragment
    ):
        raise UserError(
            f"{hidden(url)}: not a site; give auto, medpix, open-i, sample or an address: http://127.0.0.1:8765"
        )
    if f"{parts.scheme}://{parts.netloc}" == MEDPIX:
        name = "medpix"
    else:
        name = "local" if _is_loopback(host) else re.sub(r"[^a-z0-9.-]", "-", host.lower())
    return Site(name, url.rstrip("/"), hosts)


def hidden(url: str) -> str:
    """An address as it may be printed: without a password."""
    return re.sub(r"//[^/@]*@", "//***@", url)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _port(scheme: str, port: int | None) -> int:
    return port or DEFAULT_PORTS[scheme]


def _both(port: int | None) -> tuple[int, ...]:
    """On default ports http and https are one site: its addresses are asked for over the scheme it is known by."""
    return tuple(DEFAULT_PORTS.values()) if port in (None, *DEFAULT_PORTS.values()) else ()
