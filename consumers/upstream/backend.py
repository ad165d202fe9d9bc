"""Parses the user's words for a server: `URL[,name=..][,kind=..][,slots=..][,key-env=..]...`."""

from __future__ import annotations

from dataclasses import dataclass, fields
from urllib.parse import urlsplit

from parallax.core.errors import InvalidInput
from parallax.core.model import check_int, check_name, check_number
from parallax.core.suggest import among

#: The kinds of servers that are known; `openai` is any other that speaks the API.
KINDS = ("vllm", "sglang", "llamacpp", "ollama", "tgi", "openai")

#: How a backend is written, for --help.
METAVAR = "URL[,KEY=VALUE]..."


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long a server may take (seconds)."""

    connect_s: float = 5.0  # to accept a connection
    first_s: float = 120.0  # to say the first of a streamed answer
    between_s: float = 60.0  # from one piece of it to the next
    whole_s: float = 600.0  # for one answer, all in all
    busy_s: float = 10.0  # how long a request stays here that it is too busy to take

    def __post_init__(self) -> None:
        for one in fields(self):
            check_number(one.name.replace("_", "-"), getattr(self, one.name), 0.01, 86_400.0)


@dataclass(frozen=True, slots=True)
class Backend:
    """A server. Facts that the user does not give are asked of it."""

    root: str  # its address without `/v1` and without a slash at the end
    name: str = ""  # of the worker in front of it
    kind: str = ""
    slots: int | None = None
    key_env: str = ""  # the variable of the environment that holds its key
    model: str = ""  # for requests that name none; '': the first that it serves
    timeouts: Timeouts = Timeouts()

    @property
    def api(self) -> str:
        """The address that the paths of the API follow."""
        return f"{self.root}/v1"


_TEXTS = ("name", "kind", "key-env", "model")
_TIMES = tuple(one.name.replace("_", "-") for one in fields(Timeouts))
_KEYS = (*_TEXTS, "slots", *_TIMES)


def parsed_backend(text: str, field: str = "--backend") -> Backend:
    """Read `http://host:port/v1,name=a,slots=4`; raises InvalidInput."""
    url, *settings = (part.strip() for part in text.split(","))
    given: dict[str, str] = {}
    for setting in settings:
        key, equals, value = setting.partition("=")
        if key not in _KEYS:
            raise InvalidInput(field, key, among(key, _KEYS))
        if not equals or not value:
            raise InvalidInput(f"{field} {key}", value, f"write {key}=VALUE")
        given[key] = value
    _check_texts(field, given)
    times = {
        key.replace("-", "_"): _number(field, key, given[key]) for key in _TIMES if key in given
    }
    return Backend(
        _root(field, url), given.get("name", ""), given.get("kind", ""), _slots(field, given),
        given.get("key-env", ""), given.get("model", ""), Timeouts(**times),
    )  # fmt: skip


def _check_texts(field: str, given: dict[str, str]) -> None:
    if "name" in given:
        check_name(f"{field} name", given["name"])
    if given.get("kind", KINDS[0]) not in KINDS:
        raise InvalidInput(f"{field} kind", given["kind"], among(given["kind"], KINDS))
    if not given.get("key-env", "KEY").isidentifier():
        told = "the name of a variable of the environment that holds the key"
        raise InvalidInput(f"{field} key-env", "...", told)  # it may be the key itself


def _slots(field: str, given: dict[str, str]) -> int | None:
    if "slots" not in given:
        return None
    text = given["slots"]
    value: object = int(text) if text.isascii() and text.isdigit() else text
    check_int(f"{field} slots", value, 1, 100_000)
    return int(text)


def _number(field: str, key: str, text: str) -> float:
    try:
        return float(text.removesuffix("s"))
    except ValueError:
        raise InvalidInput(f"{field} {key}", text, "seconds, as 2.5") from None


def _root(field: str, url: str) -> str:
    told = "an address such as http://127.0.0.1:8000/v1"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise InvalidInput(field, "...", told) from None
    if "@" in parts.netloc:
        raise InvalidInput(
            field, "...", f"{told}, without a password: key-env=NAME names its variable"
        )
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        raise InvalidInput(field, url, told)
    if parts.query or parts.fragment:
        raise InvalidInput(field, url.partition("?")[0], f"{told}, without parameters")
    return url.rstrip("/").removesuffix("/v1").rstrip("/")
