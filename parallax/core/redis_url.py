"""Addresses of Redis as people write them: the allowed parts, and the form that is shown.

    redis://[user:password@]host[:port][/database][?parameter=value&...]     rediss:// the same, TLS
    unix://[user:password@]/path[?db=0]
    redis+sentinel://[user:password@]host[:port],host[:port].../service[/database]

An address that can be read in two ways is refused: a user that wrote a `/` or a `#` into a password
would else reach another host or database, and the rest of the password would be told as its name.
A refused address is never shown, for a part of it may be the password.
"""

from __future__ import annotations

import re

from parallax.core.errors import InvalidInput

FIELD = "redis url"
_PARAMETER = f"parameter of the {FIELD}"
URLS = "use redis://, rediss:// or unix:// with the server's address"
ENCODE = "percent-encode a password: %20 for a blank, %23 #, %2F /, %3F ?, %40 @, %25 %"
#: Parameters of a URL. Whatever else redis-py takes is fixed here: replies are bytes, waits end.
TLS_PARAMETERS = (
    "ssl_ca_certs", "ssl_ca_path", "ssl_certfile", "ssl_keyfile", "ssl_password",
    "ssl_check_hostname", "ssl_cert_reqs",
)  # fmt: skip
PARAMETERS = ("db", *TLS_PARAMETERS)
#: Of these the values are shown: they are no paths, and no secrets.
PLAIN = frozenset({"db", "ssl_check_hostname", "ssl_cert_reqs"})
SENTINEL, SENTINEL_PORT = "redis+sentinel", 26379
_SCHEMES = ("redis", "rediss", "unix", SENTINEL)
_SENTINEL = "redis+sentinel://host:26379,host:26379/service/0"
_SERVICE = re.compile(r"/([A-Za-z0-9._-]{1,100})(?:/(\d{1,5}))?")
_DATABASE = re.compile(r"/?|/\d{1,5}")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,39}")


def checked(url: str) -> str:
    """Return the URL without blanks around it; raises InvalidInput, which never quotes it."""
    url = url.strip().removeprefix("\ufeff")
    scheme, colon, rest = url.partition("://")
    if not colon or scheme not in _SCHEMES:
        raise _refused(URLS)
    if any(c.isspace() or not c.isprintable() for c in rest) or "#" in rest:
        raise _refused(f"no blank and no # may stand in it; {ENCODE}")
    place, _, query = rest.partition("?")
    authority, slash, path = place.partition("/")
    socket = scheme == "unix" and (not authority or authority.endswith("@"))
    if "@" in query or ("@" in path and not socket):
        raise _refused(f"a / or ? before the last @; {ENCODE}")
    server = authority.rpartition("@")[2]
    if scheme == SENTINEL:
        _check_sentinels(server, slash + path)
    elif scheme == "unix":
        if server or not path:
            raise _refused("unix:///path/of/the/socket; there is no host in it")
    else:
        _check_host(server)
        if not _DATABASE.fullmatch(slash + path):
            raise _refused("after the host only the number of a database: redis://host:6379/0")
    _check_parameters(scheme, query, bool(path) and scheme != "unix")
    return url


def _check_sentinels(servers: str, path: str) -> None:
    for server in servers.split(","):
        _check_host(server)
        if not server.rpartition("@")[2].strip(":0123456789"):
            raise _refused(f"a host for each sentinel: {_SENTINEL}")
    if not _SERVICE.fullmatch(path):
        raise _refused(f"the name of the service after the sentinels: {_SENTINEL}")


def sentinels_of(url: str) -> tuple[list[tuple[str, int]], str, str] | None:
    """Return what a checked URL of sentinels says: where they are, the service, and the URL of the
    server that leads, as if it were on the first sentinel's host; None for any other URL."""
    scheme, _, rest = url.partition("://")
    if scheme != SENTINEL:
        return None
    place, mark, query = rest.partition("?")
    authority, slash, path = place.partition("/")
    user, at, servers = authority.rpartition("@")
    found = _SERVICE.fullmatch(slash + path)
    pairs = [_place(server) for server in servers.split(",")]
    service, database = (found[1], found[2] or "0") if found else ("", "0")
    return pairs, service, f"redis://{user}{at}{pairs[0][0]}/{database}{mark}{query}"


def _place(server: str) -> tuple[str, int]:
    host, colon, port = server.rpartition(":") if not server.endswith("]") else (server, "", "")
    return (host, int(port)) if colon else (server, SENTINEL_PORT)


def _check_host(server: str) -> None:
    host, colon, port = server.rpartition(":") if not server.endswith("]") else (server, "", "")
    if not colon:
        host, port = server, "6379"
    if not (port.isascii() and port.isdigit() and 1 <= int(port[:6]) <= 65_535):
        raise _refused("a port from 1 to 65535 after the host: redis://host:6379/0")
    if ":" in host and not (host.startswith("[") and host.endswith("]")):
        raise _refused("an IPv6 address in brackets, and one @ before the host")


def _check_parameters(scheme: str, query: str, numbered: bool) -> None:
    seen: set[str] = set()
    for pair in query.split("&") if query else ():
        name, _, value = pair.partition("=")
        if name not in PARAMETERS:
            shown = name if _NAME.fullmatch(name) else "***"
            raise InvalidInput(_PARAMETER, shown, f"known: {', '.join(PARAMETERS)}")
        if name in seen or (name == "db" and numbered):
            raise InvalidInput(_PARAMETER, name, "say it once")
        if name == "db" and not re.fullmatch(r"\d{1,5}", value):
            raise InvalidInput(f"{FIELD}: db", "***", "the number of a database")
        if name in TLS_PARAMETERS and scheme != "rediss":
            raise InvalidInput(_PARAMETER, name, "only with rediss://, which is TLS")
        seen.add(name)


def _refused(allowed: str) -> InvalidInput:
    return InvalidInput(FIELD, "***", allowed)


def password_of(url: str) -> str:
    """Return the password that a URL tells, as it stands there; '' if it tells none."""
    rest = url.partition("://")[2]
    if "@" in rest and not rest.startswith("/"):
        return rest.rpartition("@")[0].partition(":")[2]
    pairs = (pair.partition("=") for pair in rest.partition("?")[2].split("&"))
    return next((value for name, _, value in pairs if name == "ssl_password"), "")
