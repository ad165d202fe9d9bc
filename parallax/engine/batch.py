"""The batching engine as a pure state machine: continuous batching with chunked prefill.

One step serves every running request: requests that decode get one token each and never pause;
what is left of the token budget goes to prefills, in order (Orca, OSDI'22; Sarathi-Serve,
OSDI'24). A request whose prompt does not fit into KV memory waits at the head of the line and is
never skipped. If a decode needs a block and none is left, the request that started last is
preempted: its blocks are freed and it is computed again later (vLLM, SOSP'23).

Time is engine time in milliseconds, and the caller's to map onto a clock. `run_until` takes as
many steps as fit. Steps in which only decodes happen and nobody ends are alike, so a row of them
is taken at once in O(batch), with the result that single steps would give.
"""

from __future__ import annotations

import hashlib
from collections import deque
from dataclasses import dataclass, field

from parallax.core.errors import InvalidInput
from parallax.engine.kv_cache import KvCache
from parallax.engine.profiles import Profile

#: Share of KV blocks left free when a request is admitted, so that decodes can grow (vLLM: 1 %).
WATERMARK = 0.01


@dataclass(frozen=True, slots=True)
class Request:
    """A job as the engine sees it. `output_tokens` None: the engine makes up a length."""

    id: str
    session: str
    prompt_tokens: int
    max_tokens: int
    output_tokens: int | None = None

    @property
    def length(self) -> int:
        """The length of the answer in tokens, at least 1.

        Where it is not given it is between a quarter and all of `max_tokens`, drawn from a hash of
        the id, so that a repeated attempt gives the same answer.
        """
        if self.output_tokens is not None:
            return max(1, self.output_tokens)
        digest = hashlib.blake2b(self.id.encode(), digest_size=8).digest()
        share = 0.25 + 0.75 * int.from_bytes(digest, "big") / 2**64
        return max(1, round(self.max_tokens * share))


@dataclass(frozen=True, slots=True)
class Change:
    """Something happened to a request at engine time `at_ms`."""

    id: str
    at_ms: float
    output_tokens: int
    prompt_tokens: int
    cached_tokens: int
    first_token: bool
    finished: bool


@dataclass(slots=True)
class _Running:
    """A request in the batch: `computed` of `target` tokens are prefilled; then it decodes."""

    request: Request
    length: int
    target: int
    computed: int = 0
    cached: int = 0
    output: int = 0
    begun: bool = False  # it has had its first token, before a preemption perhaps

    @property
    def decoding(self) -> bool:
        return self.computed >= self.target

    @property
    def context(self) -> int:
        return self.request.prompt_tokens + self.output


@dataclass(frozen=True, slots=True)
class Step:
    """What one step computes: prefill chunks (request, tokens, context before) and decodes."""

    duration_ms: float
    chunks: tuple[tuple[str, int, int], ...]
    decodes: tuple[str, ...]


@dataclass(slots=True)
class BatchEngine:
    """See the module's docstring. Deterministic; O(batch) per step."""

    profile: Profile
    now_ms: float = 0.0
    preemptions: int = 0
    _kv: KvCache = field(init=False)
    _waiting: deque[_Running] = field(default_factory=deque)
    _running: dict[str, _Running] = field(default_factory=dict)
    _begun: Step | None = None  # the step that `run_until` is in the middle of

    def __post_init__(self) -> None:
        size = self.profile.block_size
        self._kv = KvCache(self.profile.kv_capacity // size, size)

    @property
    def busy(self) -> bool:
        """Whether there is anything to do."""
        return bool(self._running or self._waiting)

    @property
    def room(self) -> int:
        """How many more requests could run at once."""
        return max(0, self.profile.max_seqs - len(self._running) - len(self._waiting))

    @property
    def kv_used(self) -> float:
        """Share of KV memory that running requests hold, 0..1."""
        return self._kv.used

    def add(self, request: Request) -> None:
        """Put a request into the waiting line; raises InvalidInput if it can never fit."""
        length = request.length
        room = self._kv.blocks - self._reserve()
        if self._kv.needed(request.prompt_tokens + length) > room:
            raise InvalidInput(
                "prompt and output tokens",
                request.prompt_tokens + length,
                f"at most {room * self.profile.block_size} (KV memory)",
            )
        self._waiting.append(_Running(request, length, request.prompt_tokens))

    def cancel(self, request_id: str) -> int | None:
        """Drop a request; return how many tokens it had produced, None if it is not here."""
        running = self._running.pop(request_id, None)
        if running is not None:
            self._kv.release(request_id)
            return running.output
        for waiting in self._waiting:
            if waiting.request.id == request_id:
                self._waiting.remove(waiting)
                return waiting.output
        return None

    def plan(self) -> Step | None:
        """Decide the next step; None when there is nothing to do."""
        self._make_room_for_decodes()
        decodes = [r for r in self._running.values() if r.decoding]
        budget = self.profile.token_budget - len(decodes)
        chunks: list[tuple[str, int, int]] = []
        for running in self._running.values():
            if budget > 0 and not running.decoding:
                budget -= self._chunk(running, budget, chunks)
        while budget > 0 and self._admit_head():
            newest = self._running[next(reversed(self._running))]
            budget -= self._chunk(newest, budget, chunks)
        if not chunks and not decodes:
            return None
        duration = self.profile.cost.step_ms(
            [(tokens, before) for _, tokens, before in chunks],
            len(decodes),
            sum(r.context for r in decodes),
        )
        return Step(duration, tuple(chunks), tuple(r.request.id for r in decodes))

    def apply(self, step: Step) -> list[Change]:
        """Let a planned step happen; return what changed, in order.

        A request that was cancelled since the step began had its share of it for nothing.
        """
        self.now_ms += step.duration_ms
        changes: list[Change] = []
        for request_id, tokens, _ in step.chunks:
            running = self._running.get(request_id)
            if running is not None:
                running.computed += tokens
                if running.decoding:  # the last chunk yields a token
                    self._token(running, changes)
        for request_id in step.decodes:
            running = self._running.get(request_id)
            if running is not None:
                self._token(running, changes)
        return changes

    def run_until(self, until_ms: float) -> list[Change]:
        """Take every step that ends by `until_ms`; an idle engine's clock follows.

        A step that has begun is finished as it was planned, whatever arrives meanwhile.
        """
        changes: list[Change] = []
        while True:
            if self._begun is None:
                row = self._row(until_ms)
                if row:
                    self._take_row(row)
                self._begun = self.plan()
            step = self._begun
            if step is None or self.now_ms + step.duration_ms > until_ms:
                break
            self._begun = None
            changes += self.apply(step)
        if not self.busy:
            self._begun = None
            self.now_ms = max(self.now_ms, until_ms)
        return changes

    def next_change_ms(self) -> float | None:
        """Return a time until which nothing changes by itself (a lower bound); None when idle."""
        if not self.busy:
            return None
        row = self._row(float("inf"))
        if self._begun is not None and (row == 0 or self._begun.chunks):
            return self.now_ms + self._begun.duration_ms
        ahead = self._row_ms(row) if row else 0.0
        return self.now_ms + ahead + self.profile.cost.base_ms

    # -- a row of equal steps ---------------------------------------------------------------------

    def _row(self, until_ms: float) -> int:
        """Return how many pure decode steps may be taken at once before anything changes."""
        running = self._running.values()
        if not running or any(not r.decoding for r in running) or self._head_fits():
            return 0
        steps = min(r.length - r.output for r in running) - 1
        steps = self._affordable(steps)
        if steps <= 0 or self.now_ms + self._row_ms(steps) <= until_ms:
            return max(0, steps)
        low, high = 0, steps  # the longest row that ends in time, by bisection
        while high - low > 1:
            middle = (low + high) // 2
            if self.now_ms + self._row_ms(middle) <= until_ms:
                low = middle
            else:
                high = middle
        return low

    def _affordable(self, steps: int) -> int:
        """Shorten a row until the free blocks suffice for it."""
        kv = self._kv
        while steps > 0:
            more = sum(
                kv.needed(r.context + steps) - kv.needed(r.context) for r in self._running.values()
            )
            if more <= kv.available:
                return steps
            steps //= 2
        return 0

    def _row_ms(self, steps: int) -> float:
        running = self._running.values()
        return self.profile.cost.decodes_ms(steps, len(running), sum(r.context for r in running))

    def _take_row(self, steps: int) -> None:
        self.now_ms += self._row_ms(steps)
        for request_id, running in self._running.items():
            running.output += steps
            running.computed = running.target
            self._kv.grow(request_id, running.context)

    # -- parts of a step --------------------------------------------------------------------------

    def _reserve(self) -> int:
        return int(WATERMARK * self._kv.blocks)

    def _head_fits(self) -> bool:
        if not self._waiting or len(self._running) >= self.profile.max_seqs:
            return False
        needed = self._kv.needed(self._waiting[0].target + 1)
        return not self._running or needed + self._reserve() <= self._kv.available

    def _admit_head(self) -> bool:
        """Move the first waiting request into the batch, if it fits. Nobody overtakes it."""
        if not self._head_fits():
            return False
        head = self._waiting.popleft()
        request = head.request
        head.cached = head.computed = self._kv.acquire(request.id, request.session, head.target)
        self._running[request.id] = head
        return True

    def _chunk(self, running: _Running, budget: int, chunks: list[tuple[str, int, int]]) -> int:
        tokens = min(running.target - running.computed, budget)
        chunks.append((running.request.id, tokens, running.computed))
        return tokens

    def _make_room_for_decodes(self) -> None:
        for request_id, running in list(self._running.items()):
            while (
                request_id in self._running
                and running.decoding
                and not self._kv.grow(request_id, running.context + 1)
            ):
                self._preempt(next(reversed(self._running)))

    def _preempt(self, request_id: str) -> None:
        """Give up the newest request's blocks; it is computed again, what it said included."""
        running = self._running.pop(request_id)
        self._kv.release(request_id)
        running.target, running.computed, running.cached = running.context, 0, 0
        self._waiting.appendleft(running)
        self.preemptions += 1

    def _token(self, running: _Running, changes: list[Change]) -> None:
        running.output += 1
        running.computed = running.target
        finished = running.output >= running.length
        first = not running.begun
        running.begun = True
        request = running.request
        if finished:
            del self._running[request.id]
            self._kv.release(request.id, request.session, running.context)
        if first or finished:
            changes.append(
                Change(
                    request.id,
                    self.now_ms,
                    running.output,
                    request.prompt_tokens,
                    running.cached,
                    first,
                    finished,
                )
            )

    def output_of(self, request_id: str) -> int:
        """Return how many tokens a running request has produced; 0 if it is not running."""
        running = self._running.get(request_id)
        return running.output if running else 0
