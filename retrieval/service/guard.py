"""Who may ask what: hosts, origins, tokens, sizes and times, before a request reaches a route."""

import asyncio
import hmac
import ipaddress
import socket
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from hashlib import blake2b
from http.cookies import CookieError, SimpleCookie
from pathlib import Path
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from embed.errors import SettingsError
from retrieval.service.problems import problem

LOOPBACK = frozenset(("localhost", "127.0.0.1", "::1"))
LEAST_TOKEN = 16
COOKIE = "product-search-session"
OWN_HEADER, OWN_VALUE = "x-requested-with", "product-search"
READING_POSTS = frozenset(("/search", "/match", "/attributes"))
"""What is posted since it is large, and changes nothing: other programs may ask it plainly."""

SECURITY_HEADERS = {
    "content-security-policy": "default-src 'self'; img-src 'self' blob: data:; style-src 'self'; "
    "object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
}


@dataclass(frozen=True)
class GuardSettings:
    """What is let in.

    Attributes:
        hosts: the names that the Host header may have; addresses in numbers too, where
            `any_address`: another site's name can't stand for them.
        token: what every request has to show, but for the page's own files and `/healthz`; None:
            nothing.
        max_bytes: of a request.
        body_seconds: between two parts of a request's body.
        whole_body_seconds: from a request's headers to the end of its body.
    """

    hosts: frozenset[str] = LOOPBACK
    any_address: bool = False
    token: str | None = None
    max_bytes: int = 20 * 2**20
    body_seconds: float = 30.0
    whole_body_seconds: float = 120.0

    @property
    def session(self) -> str:
        """The value of the cookie that stands for the token."""
        key = blake2b((self.token or "").encode(), digest_size=32, person=b"product-search")
        return key.hexdigest()

    def trusts(self, headers: Headers) -> bool:
        """Whether a request shows the token, or needs none."""
        if self.token is None:
            return True
        scheme, _, given = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and _equal(given.strip(), self.token):
            return True
        return _equal(_cookie(headers.get("cookie", "")), self.session)


def guard_of(
    host: str, token_path: Path | None, allowed_hosts: Collection[str], max_bytes: int
) -> GuardSettings:
    """The guard of a service that listens on `host`, or behind a proxy that others reach.

    Raises:
        SettingsError: a host is not this machine alone and there is no token, or a bad one.
    """
    token = None if token_path is None else _read_token(token_path)
    is_loopback = _is_loopback(host)
    given = (("--host", host), *(("--allow-host", name) for name in allowed_hosts))
    foreign = [f"{option} {name}" for option, name in given if not _is_loopback(name)]
    if token is None and foreign:
        raise SettingsError(
            f"{foreign[0]} can be reached from other machines: give --token-file, a file with a "
            f"secret of {LEAST_TOKEN} characters or more"
        )
    hosts = {*LOOPBACK, host, *allowed_hosts}
    if not is_loopback:
        hosts |= {socket.gethostname(), socket.getfqdn()}
    known = frozenset(name.lower() for name in hosts)
    return GuardSettings(known, not is_loopback, token, max_bytes)


def _is_loopback(host: str) -> bool:
    if host.lower() in LOOPBACK:
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _read_token(path: Path) -> str:
    try:
        token = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"--token-file {path} can't be read: {error}") from error
    if len(token) < LEAST_TOKEN or not token.isascii() or not token.isprintable():
        raise SettingsError(
            f"--token-file {path} should hold {LEAST_TOKEN} characters or more that can be "
            f"printed: found {len(token)}"
        )
    return token


class Guard:
    """Lets requests through to the application, or answers them itself."""

    def __init__(
        self, app: ASGIApp, settings: GuardSettings, is_open: Callable[[str, str], bool]
    ) -> None:
        self._app, self._settings, self._is_open = app, settings, is_open

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        sending = _with_headers(send)
        refused = self._refusal(scope, headers)
        if refused is not None:
            more = {"WWW-Authenticate": "Bearer"} if refused[0] == 401 else {"Connection": "close"}
            await problem(*refused, more)(scope, receive, sending)
            return
        await self._app(scope, self._limited(receive), sending)

    def _refusal(self, scope: Scope, headers: Headers) -> tuple[int, str] | None:
        host = headers.get("host", "")
        if not self._is_known(host):
            return 403, "the Host header names another host than this service's: add --allow-host"
        is_open = self._is_open(scope["method"], scope["path"])
        if headers.get("sec-fetch-site") == "cross-site" and not is_open:
            return 403, "another site's page asks for this: open this service's own page"
        if scope["method"] not in ("GET", "HEAD", "OPTIONS"):
            origin = headers.get("origin")
            if origin is not None and urlsplit_host(origin) != host.lower():
                return 403, "this service takes requests of its own pages: the origin is another"
            is_write = scope["path"] not in READING_POSTS
            if is_write and headers.get(OWN_HEADER) != OWN_VALUE:
                return 403, f"a request that changes something needs {OWN_HEADER}: {OWN_VALUE}"
        if not is_open and not self._settings.trusts(headers):
            return 401, "a token is needed: send it as Authorization: Bearer TOKEN"
        return self._size_refusal(headers.get("content-length"))

    def _size_refusal(self, length: str | None) -> tuple[int, str] | None:
        if length is None or not length.isascii() or not length.isdigit():
            return None
        if len(length) > 18 or int(length) > self._settings.max_bytes:
            return 413, self._too_large
        return None

    @property
    def _too_large(self) -> str:
        return f"a request has at most {self._settings.max_bytes:,} bytes: send a smaller image"

    def _is_known(self, host: str) -> bool:
        name = _name_of(host)
        if name is None:
            return False
        if name in self._settings.hosts:
            return True
        return self._settings.any_address and _is_address(name)

    def _limited(self, receive: Receive) -> Receive:
        """The same messages, as long as they come in time and are not too many bytes."""
        num_bytes = 0
        is_complete = False
        end = time.monotonic() + self._settings.whole_body_seconds

        async def limited() -> Message:
            nonlocal num_bytes, is_complete
            if is_complete:  # only a disconnection is still to come, whenever that is
                return await receive()
            left = min(self._settings.body_seconds, end - time.monotonic())
            try:
                message = await asyncio.wait_for(receive(), left)
            except TimeoutError:
                raise HTTPException(408, "the request took too long to arrive: try again") from None
            num_bytes += len(message.get("body", b""))
            if num_bytes > self._settings.max_bytes:
                raise HTTPException(413, self._too_large, {"Connection": "close"})
            is_complete = not message.get("more_body", False)
            return message

        return limited


def urlsplit_host(origin: str) -> str | None:
    """The host and port of an origin, in lower case; None where it is none."""
    try:
        return urlsplit(origin).netloc.lower() or None
    except ValueError:
        return None


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in SECURITY_HEADERS.items():
                headers.setdefault(name, value)
        await send(message)

    return sending


def _name_of(host: str) -> str | None:
    """The name in a Host header, without the port; None where it is none."""
    try:
        return urlsplit(f"//{host}").hostname
    except ValueError:
        return None


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _cookie(header: str) -> str:
    try:
        found = SimpleCookie(header).get(COOKIE)
    except CookieError:
        return ""
    return "" if found is None else found.value


def _equal(given: str, secret: str) -> bool:
    """In a time that does not depend on how much of it is right."""
    return hmac.compare_digest(given.encode("utf-8", "replace"), secret.encode())
