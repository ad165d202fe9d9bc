"""The gateway as an ASGI application: its routes, and its handling of every request."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from parallax.broker.link.connection import Link
from parallax.broker.store.confirming import wanted
from parallax.broker.store.keyring import ADMIN
from parallax.broker.store.keys import Keys
from parallax.core.cells import CellAddress
from parallax.core.clock import Clock
from parallax.core.errors import ParallaxError
from parallax.core.secrets import redacted
from parallax.producers.client.async_client import AsyncClient
from parallax.producers.gateway import explaining, openapi, traced
from parallax.producers.gateway.answering import Answering, Ask
from parallax.producers.gateway.bodies import (
    ClientDisconnect,
    check_unambiguous,
    read_body,
    understood,
)
from parallax.producers.gateway.doorkeeper import LOCAL, Doorkeeper, Openness
from parallax.producers.gateway.leaving import ClientLeft
from parallax.producers.gateway.looking import Looking, Routing
from parallax.producers.gateway.meaning import Speaker, meant
from parallax.producers.gateway.models import Models, Served, missing
from parallax.producers.gateway.pace import Pace
from parallax.producers.gateway.problems import Code, Problem, ending, problem_of
from parallax.producers.gateway.rates import Purse
from parallax.producers.gateway.routes import SPECS
from parallax.producers.gateway.settings import GatewaySettings
from parallax.producers.gateway.streaming import Streamed
from parallax.telemetry.metrics import exposition
from parallax.telemetry.serving import ServingMetrics
from parallax.telemetry.tracing import OFF, Tracer

log = logging.getLogger(__name__)

#: Most header lines of a request, and most bytes of all of them.
MOST_HEADERS, MOST_HEADER_BYTES = 100, 32_768
#: How long requests that are not answered in time may take to be told so (seconds).
EMPTIED_S = 2.0

_LEFT = 499  # the client had left: counted, and told to nobody
_PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"

Answer = Response | Streamed
Serve = Callable[[Request], Awaitable[Answer]]


@dataclass(slots=True)
class Gateway:
    """One gateway process over one cell. `app` is what a server serves."""

    address: CellAddress
    looking: str  # the address of the same server for who only looks
    settings: GatewaySettings
    clock: Clock
    openness: Openness = LOCAL
    metrics: ServingMetrics = field(default_factory=ServingMetrics)
    tracer: Tracer = OFF
    draining: bool = False
    app: Starlette = field(init=False)
    _open: int = 0
    _empty: asyncio.Event | None = None  # set once nothing is open any more, if that is waited for
    _answering: Answering | None = None
    _doorkeeper: Doorkeeper | None = None
    _purse: Purse | None = None
    _routing: Routing | None = None

    def __post_init__(self) -> None:
        serving: dict[str, Serve] = {
            "models": self._models, "model": self._model, "health": self._health,
            "ready": self._ready, "metrics": self._metrics, "openapi": self._openapi,
        }  # fmt: skip
        serving |= {one.name: self._asking(one.asks) for one in SPECS if one.asks}
        routes = [
            Route(one.path, Guarded(self, one.name, serving[one.name]), methods=[one.method])
            for one in SPECS
        ]
        handlers = {HTTPException: self._astray}
        self.app = Starlette(routes=routes, lifespan=self._life, exception_handlers=handlers)

    @asynccontextmanager
    async def _life(self, _: Starlette) -> AsyncIterator[None]:
        """Live while the server does: two connections for jobs, three for looking round."""
        looking = Looking(Link.to(self.looking), Keys(self.address.name))
        try:
            async with AsyncClient(
                self.address.url, self.address.name, tracer=self.tracer,
                replicated=wanted(self.settings.replicas),
            ) as client:  # fmt: skip
                names = dict(self.settings.aliases), self.settings.default_model
                learn_s = self.settings.learn_s if self.settings.hold_s else 0.0
                models = Models(looking.members, self.clock, *names, learn_s)
                pace = Pace(looking.totals, self.clock)
                await pace.per_second()  # a first look, for there is no rate without a second
                self._answering = Answering(client, models, self.settings, pace)
                self._doorkeeper = Doorkeeper(looking.known_keys, self.clock, self.openness)
                self._purse, self._routing = Purse(client.spend), Routing(looking, self.clock)
                yield
                await self._emptied()
        finally:
            looking.close()

    async def _emptied(self) -> None:
        """Return when every request under way has said which job it leaves, or after a while."""
        self._empty = asyncio.Event()
        if self._open:
            with suppress(TimeoutError):
                async with asyncio.timeout(EMPTIED_S):
                    await self._empty.wait()

    # -- what every request goes through

    async def serve(
        self, route: str, serve: Serve, scope: Scope, receive: Receive, send: Send
    ) -> None:
        """Answer one request, whatever comes of it."""
        self._open += 1
        self.metrics.began()
        status, failed, span = 500, "", traced.begun(self.tracer, scope)
        try:
            answer = await self._answer(serve, scope, receive)
            if answer is None:
                status = _LEFT
                return
            status = 200 if isinstance(answer, Streamed) else answer.status_code
            await answer(scope, receive, send)
            if isinstance(answer, Streamed):
                status = _LEFT if answer.left else status
                failed = self._broken(answer)
        finally:
            self._open -= 1
            if self._empty is not None and not self._open:
                self._empty.set()
            self.metrics.ended(route, status)
            traced.ended(span, status, failed)

    def _broken(self, answer: Streamed) -> str:
        """Return how a stream failed after its head; '' if it did not."""
        if answer.failed is None:
            return ""
        self.metrics.broke()
        return str(answer.failed.code)

    async def _answer(self, serve: Serve, scope: Scope, receive: Receive) -> Answer | None:
        """Return an answer; None if nobody waits for it any more."""
        request = Request(scope, receive)
        try:
            self._check(request)
            return await serve(request)
        except (ClientLeft, ClientDisconnect):
            return None
        except asyncio.CancelledError:
            if not self.draining:
                raise
            return told(ending(), request)  # its time to answer is over
        except Problem as problem:
            return told(problem, request)
        except ParallaxError as error:
            found = problem_of(error)
            if found.status >= 500:
                log.warning("a request was answered %d: %s", found.status, redacted(str(error)))
            return told(found, request)
        except Exception:
            log.exception("a request could not be answered")
            said = "the gateway failed; its log says why"
            return told(Problem(500, Code.INTERNAL, said), request)

    def _check(self, request: Request) -> None:
        """Refuse requests that are not even read."""
        if self.draining:
            raise ending()
        if self._open > self.settings.max_open:
            said = f"{self.settings.max_open} requests are under way here"
            raise Problem(503, Code.GATEWAY_FULL, said, retry_after_s=1.0)
        lines = request.scope["headers"]
        if len(lines) > MOST_HEADERS or sum(len(n) + len(v) for n, v in lines) > MOST_HEADER_BYTES:
            allowed = f"at most {MOST_HEADERS} headers of {MOST_HEADER_BYTES} bytes"
            raise Problem(400, Code.INVALID, f"headers: {allowed}")

    async def _astray(self, request: Request, error: Exception) -> Response:
        """Tell that there is no such path, or that it is not called so."""
        status = error.status_code if isinstance(error, HTTPException) else 500
        where = f"{request.method} {request.url.path}"[:200]
        code = Code.METHOD if status == 405 else Code.NOT_FOUND
        said = {404: f"there is no {where}", 405: f"{where}: use another method"}
        self.metrics.began()
        self.metrics.ended("other", status)
        return told(Problem(status, code, said.get(status, "it cannot be served")), request)

    # -- routes

    def _asking(self, path: str) -> Serve:
        """Return what serves requests to a path of the API."""

        async def serve(request: Request) -> Answer:
            return await self._asked(request, path)

        return serve

    async def _asked(self, request: Request, path: str) -> Answer:
        began = self.clock.monotonic()
        answering, headers = self._now(), request.headers
        speaker = await self._speaker(request)
        body = await read_body(request, self.settings)
        asked = understood(path, body)
        model = await answering.models.meant_by(asked.said.model)
        trace = traced.context_of(request)
        asks = [
            Ask(meant(headers, one, speaker, self.settings, n, model, trace), one)
            for n, one in enumerate(asked.each())
        ]
        one = asks[0].meant
        if not speaker.may_use(model) and not speaker.may_use(asked.said.model):
            said = f"this key may not use the model {asked.said.model[:100]!r}"
            raise Problem(403, Code.NOT_ALLOWED, said, param="model")
        if speaker.models:
            check_unambiguous(body)
        traced.understood(request, path, one)
        about = explaining.of_request(one, headers.get(explaining.REQUEST_ID))
        purse, routing = self._lookups()
        jobs = [ask.meant for ask in asks]
        about |= {**await routing.headers(), **await purse.spend(speaker, jobs)}

        def settle(used: int) -> None:
            purse.give_back(speaker, jobs, used)

        if not asked.stream:
            answer = await answering.whole(asks, about, request.receive, settle)
            self.metrics.first_byte(self.clock.monotonic() - began)
            return answer
        streamed = await answering.streamed(asks, about, request.receive, settle)
        streamed.began = lambda: self.metrics.first_byte(self.clock.monotonic() - began)
        return streamed

    async def _models(self, request: Request) -> Answer:
        speaker = await self._speaker(request)
        known = await self._now().models.known()
        seen = [_model(one) for one in known.values() if speaker.may_use(one.name)]
        return document({"object": "list", "data": seen})

    async def _model(self, request: Request) -> Answer:
        speaker, name = await self._speaker(request), request.path_params["model"]
        known = await self._now().models.known()
        allowed = {one: found for one, found in known.items() if speaker.may_use(one)}
        if name not in allowed:
            raise missing(name, allowed)
        return document(_model(allowed[name]))

    async def _openapi(self, _: Request) -> Answer:
        return Response(openapi.document(), media_type="application/json")

    async def _health(self, _: Request) -> Answer:
        return document({"status": "ok"})

    async def _ready(self, _: Request) -> Answer:
        """Say whether a request would be answered now: there is a store, and a live worker."""
        live = await self._now().models.live_workers()
        if not live:
            raise Problem(503, Code.NO_BACKENDS, "there is no live worker", retry_after_s=1.0)
        return document({"status": "ok", "workers": live})

    async def _metrics(self, request: Request) -> Answer:
        await self._speaker(request, ADMIN)
        return Response(exposition(self.metrics.registry), media_type=_PROMETHEUS)

    async def _speaker(self, request: Request, *scope: str) -> Speaker:
        if self._doorkeeper is None:
            raise Problem(503, Code.SHUTTING_DOWN, "this gateway has not started")
        return await self._doorkeeper.admit(request.headers, *scope)

    def _lookups(self) -> tuple[Purse, Routing]:
        if self._purse is None or self._routing is None:
            raise Problem(503, Code.SHUTTING_DOWN, "this gateway has not started")
        return self._purse, self._routing

    def _now(self) -> Answering:
        if self._answering is None:
            raise Problem(503, Code.SHUTTING_DOWN, "this gateway has not started")
        return self._answering


@dataclass(frozen=True, slots=True, eq=False)
class Guarded:
    """A route's endpoint: an ASGI application of its own, so that it can stream as it likes."""

    gateway: Gateway
    route: str
    answer: Serve

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        await self.gateway.serve(self.route, self.answer, scope, receive, send)


def document(content: Mapping[str, Any], status: int = 200) -> Response:
    """Return an answer in JSON."""
    return Response(msgspec.json.encode(content), status, media_type="application/json")


def told(problem: Problem, request: Request) -> Response:
    """Return a problem as the API tells it."""
    given = request.headers.get(explaining.REQUEST_ID)
    answer = document(problem.document(), problem.status)
    answer.headers.update(problem.headers())
    if explaining.request_id(given, ""):
        answer.headers[explaining.REQUEST_ID] = explaining.request_id(given, "")
    return answer


def _model(served: Served) -> dict[str, object]:
    return {"id": served.name, "object": "model", "created": served.since, "owned_by": "parallax"}
