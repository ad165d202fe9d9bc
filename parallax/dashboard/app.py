"""The dashboard as an ASGI application: its routes, and its handling of every request."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from parallax import __version__
from parallax.broker.link.connection import Link
from parallax.broker.store.keyring import Keyring
from parallax.broker.store.keys import Keys
from parallax.broker.store.overview import Overview
from parallax.cli.cell_documents import CellView
from parallax.cli.cell_view import cell_view
from parallax.core.cells import CellAddress
from parallax.core.clock import Clock
from parallax.core.errors import ParallaxError
from parallax.core.model import check_name
from parallax.dashboard.feed import MOST_VIEWERS, Feed
from parallax.dashboard.guard import SESSION_S, Guard, cookie_name
from parallax.dashboard.lab import Lab
from parallax.dashboard.pages import HEADERS, STATIC, Pages, policy
from parallax.dashboard.playground import Playground
from parallax.dashboard.problems import Problem, document, problem_of, told
from parallax.dashboard.reading import CONTRACT, Reading, number
from parallax.dashboard.writing import Writing, read_body
from parallax.services.beside import Beside

log = logging.getLogger(__name__)

#: Most bytes of a request's body.
MOST_BODY = 256 * 1024

Answer = Callable[[Request], Awaitable[Response]]
Read = Callable[[Mapping[str, str]], Any]
Write = Callable[[Mapping[str, str], bytes], Any]

_STREAMED = {"cache-control": "no-store", "x-accel-buffering": "no"}


class _Token(msgspec.Struct, forbid_unknown_fields=True):
    token: str


@dataclass(slots=True)
class Dashboard:
    """One dashboard process over one cell. `app` is what a server serves."""

    address: CellAddress
    clock: Clock
    token: str
    local: bool = True
    static: Path = STATIC
    lab: Lab = field(default_factory=Lab)
    app: Starlette = field(init=False)
    feed: Feed = field(init=False)
    guard: Guard = field(init=False)
    playground: Playground = field(init=False)
    _asking: Beside = field(default_factory=Beside, init=False)

    def __post_init__(self) -> None:
        link, keys = Link.to(self.address.url), Keys(self.address.name)
        looking = link.twin()
        overview, ring = Overview(looking, keys), Keyring(link.twin(), keys)

        def look(seq: int) -> CellView:
            return cell_view(overview.read(), seq)

        self.feed = Feed(look, self.clock)
        self.guard = Guard(ring.known, self.clock, self.token, local=self.local)
        self.playground = Playground(self.address)
        reading = Reading(link, keys)
        routes = [*self._routes(reading, Writing(reading)), *self._others(Pages(self.static))]
        self.app = Starlette(
            routes=routes, lifespan=self._life,
            middleware=[Middleware(GZipMiddleware, minimum_size=1_000, compresslevel=5)],
            exception_handlers={HTTPException: self._astray},
        )  # fmt: skip

    @asynccontextmanager
    async def _life(self, _: Starlette) -> AsyncIterator[None]:
        """Look at the cell for as long as the server runs."""
        looking = asyncio.create_task(self.feed.run())
        try:
            yield
        finally:
            looking.cancel()
            with suppress(asyncio.CancelledError):
                await looking
            await self.lab.close()
            await self.playground.close()

    # -- routes

    def _routes(self, reading: Reading, writing: Writing) -> list[Route]:
        reads: dict[str, Read] = {
            "/api/workers": reading.workers, "/api/tenants": reading.tenants,
            "/api/models": reading.models, "/api/dead": reading.dead, "/api/jobs": reading.jobs,
            "/api/policies": reading.policies,
        }  # fmt: skip
        writes: dict[str, Write] = {
            "/api/policies": writing.policy, "/api/policies/reset": writing.reset,
            "/api/canary": writing.canary, "/api/canary/promote": writing.promote,
            "/api/canary/rollback": writing.rollback, "/api/tenants/{name}": writing.weight,
            "/api/workers/{name}/drain": writing.drain,
            "/api/dead/{entry}/requeue": writing.requeue,
            "/api/dead/{entry}/remove": writing.remove, "/api/jobs/{id}/cancel": writing.cancel,
        }  # fmt: skip

        async def job(request: Request) -> Response:
            check_name("id", request.path_params["id"])
            return document(await self._beside(reading.job, request.path_params["id"]))

        return [
            *(self._get(path, self._read(read)) for path, read in reads.items()),
            *(self._post(path, self._write(write)) for path, write in writes.items()),
            self._get("/api/jobs/{id}", job),
        ]

    def _others(self, pages: Pages) -> list[Route]:
        return [
            self._get("/api/overview", self._overview), self._get("/api/events", self._events),
            self._get("/api/history", self._history),
            Route("/api/session", self._told(self._session), methods=["GET", "POST", "DELETE"]),
            self._post("/api/playground", self._play),
            self._get("/api/lab/reports", self._reports),
            self._get("/api/lab/reports/{name}", self._report),
            self._post("/api/lab/simulate", self._simulate),
            self._post("/api/lab/cancel", self._stop),
            Route("/api/{rest:path}", self._told(self._nowhere)),
            Route("/{path:path}", self._told(pages, api=False), methods=["GET"]),
        ]  # fmt: skip

    def _get(self, path: str, answer: Answer) -> Route:
        return Route(path, self._told(self._guarded(answer)), methods=["GET"])

    def _post(self, path: str, answer: Answer) -> Route:
        return Route(path, self._told(self._guarded(answer)), methods=["POST"])

    def _guarded(self, answer: Answer) -> Answer:
        async def guarded(request: Request) -> Response:
            await self.guard.check(request)
            return await answer(request)

        return guarded

    def _told(self, answer: Answer, *, api: bool = True) -> Answer:
        """Answer whatever comes of it, with the headers that all answers have."""

        async def answered(request: Request) -> Response:
            try:
                response = await answer(request)
            except Problem as problem:
                response = told(problem)
            except ParallaxError as error:
                response = told(problem_of(error))
            except (HTTPException, ClientDisconnect):
                raise
            except Exception:
                log.exception("a request could not be answered")
                response = told(Problem("internal", "the dashboard failed; its log says why"))
            return _headed(response, api=api)

        return answered

    async def _astray(self, request: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else 500
        code = "method" if status == 405 else "not_found"
        where = f"{request.method} {request.url.path}"[:200]
        return _headed(told(Problem(code, f"there is no {where}")), api=True)

    async def _nowhere(self, request: Request) -> Response:
        self.guard.check_site(request)
        raise Problem("not_found", f"there is no {request.url.path[:200]}")

    # -- one question to the store at a time, beside the loop

    async def _beside(self, ask: Callable[..., Any], *given: Any) -> Any:
        return await self._asking.do(ask, *given)

    def _read(self, read: Read) -> Answer:
        async def answer(request: Request) -> Response:
            return document(await self._beside(read, dict(request.query_params)))

        return answer

    def _write(self, write: Write) -> Answer:
        async def answer(request: Request) -> Response:
            body = await _body(request)
            path = dict(request.path_params)
            if "name" in path:
                check_name("name", path["name"])
            done = await self._beside(write, path, body)
            log.info("changed: %s %s", request.method, request.url.path[:200])
            return document(done, 202 if request.url.path.endswith("/drain") else 200)

        return answer

    # -- answers

    async def _overview(self, _: Request) -> Response:
        return document(await self.feed.latest())

    async def _events(self, _: Request) -> Response:
        if self.feed.viewers >= MOST_VIEWERS:
            raise Problem("busy", f"{MOST_VIEWERS} viewers watch already")
        return StreamingResponse(
            self.feed.watch(), media_type="text/event-stream", headers=_STREAMED
        )  # fmt: skip

    async def _history(self, request: Request) -> Response:
        seconds = number(request.query_params, "seconds", 900, 1, 900)
        columns = self.feed.history(seconds)
        return document({"contract": CONTRACT, "cell": self.address.name, "at": []} | columns)

    async def _session(self, request: Request) -> Response:
        self.guard.check_site(request)
        cookie = None
        if request.method == "POST":
            cookie = await self.guard.sign_in(read_body(_Token, await _body(request)).token)
        elif request.method == "DELETE":
            self.guard.sign_out(request)
        writes = cookie is not None
        if request.method == "GET":
            writes = await self.guard.may_write(request)
        said = {
            "read": writes or self.local, "write": writes, "needs": await self.guard.needs(),
            "cell": self.address.name, "version": __version__,
        }  # fmt: skip
        answer = document(said)
        if cookie is not None:
            answer.set_cookie(
                cookie_name(request), cookie, SESSION_S, path="/api", httponly=True,
                samesite="strict", secure=request.url.scheme == "https",
            )  # fmt: skip
        elif request.method == "DELETE":
            answer.delete_cookie(cookie_name(request), path="/api")
        return answer

    async def _play(self, request: Request) -> Response:
        events = await self.playground.asked(await _body(request), self.feed)
        return StreamingResponse(events, media_type="text/event-stream", headers=_STREAMED)

    async def _reports(self, _: Request) -> Response:
        return document(await asyncio.to_thread(self.lab.listing))

    async def _report(self, request: Request) -> Response:
        found = await asyncio.to_thread(self.lab.report, request.path_params["name"])
        return Response(found, media_type="application/json")

    async def _simulate(self, request: Request) -> Response:
        return document({"id": await self.lab.simulate(await _body(request))}, 202)

    async def _stop(self, request: Request) -> Response:
        await _body(request)
        return document({"stopped": await self.lab.stop()})


async def _body(request: Request) -> bytes:
    """Return the body of a change; raises Problem if it is too large, or of another kind."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise Problem("invalid", "content-type: send application/json", "content-type")
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > MOST_BODY:
            raise Problem("too_large", f"the body has more than {MOST_BODY} bytes")
        parts.append(part)
    return b"".join(parts)


def _headed(response: Response, *, api: bool) -> Response:
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    response.headers.setdefault("content-security-policy", policy())
    if api:
        response.headers.setdefault("cache-control", "no-store")
    return response
