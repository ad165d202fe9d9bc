"""The batching engine as a pure state machine: continuous batching with chunked prefill.

One step serves every running request: requests that decode get one token each and never pause;
the rest of the token budget goes to prefills, in order (Orca, OSDI'22; Sarathi-Serve,
OSDI'24). A request whose prompt does not fit into KV memory waits at the head of the line and is
never skipped. If a decode needs a block and none is left, the request that started last is
preempted: its blocks are freed and it is computed again later (vLLM, SOSP'23).

Time is engine time in milliseconds, and the caller's to map onto a clock. Steps in which only
decodes happen are alike until somebody ends or memory runs out, so a *row* of them is one event,
whose duration is a closed formula. Adding or cancelling a request cuts the row after the step
that is under way. With `exact` every row is one step long: the same results, slowly.
"""

from __future__ import annotations

import heapq
from collections import deque
from dataclasses import dataclass, field
from typing import Protocol

from parallax.core.errors import InvalidInput
from parallax.core.model import BatchView
from parallax.engine.decodes import Decodes
from parallax.engine.kv_cache import Hit, KvCache
from parallax.engine.profiles import Profile
from parallax.engine.request import Change, Consumed, Request
from parallax.engine.sequence import Row, Seq, piece_of

#: Share of KV blocks left free when a request is admitted, so that decodes can grow (vLLM: 1 %).
WATERMARK = 0.01


class BatchingPolicy(Protocol):
    """Decides who of the waiting joins the batch (a batching policy)."""

    def take(self, view: BatchView) -> int:
        """Return how many may join at this step."""

    def wake_s(self, view: BatchView) -> float | None:
        """Return in how many seconds to ask again although nothing changed."""


@dataclass(slots=True)
class BatchEngine:
    """See the module's docstring. Deterministic; O(log batch) per row, whatever its length."""

    profile: Profile
    exact: bool = False
    batching: BatchingPolicy | None = None  # None: all that fit join
    now_ms: float = 0.0  # when the row under way began
    preemptions: int = 0
    busy_ms: float = 0.0
    _kv: KvCache = field(init=False)
    _decodes: Decodes = field(init=False)
    _waiting: deque[Seq] = field(default_factory=deque)
    _running: dict[str, Seq] = field(default_factory=dict)
    _prefilling: dict[str, Seq] = field(default_factory=dict)
    _ends: list[tuple[int, int, Seq]] = field(default_factory=list)
    _serial: int = 0
    _factor: float = 1.0
    _factors: dict[str, float] = field(default_factory=dict)  # running request -> its slowness
    _row: Row | None = None
    _looked_ms: float = 0.0  # how far the caller has looked
    _wake_ms: float | None = None

    def __post_init__(self) -> None:
        size = self.profile.block_size
        self._kv = KvCache(self.profile.kv_capacity // size, self.profile.dram_tokens // size)
        self._decodes = Decodes(self.profile.cost, size)

    @property
    def busy(self) -> bool:
        """Whether there is anything to do."""
        return bool(self._running or self._waiting)

    @property
    def room(self) -> int:
        """How many more requests could run at once."""
        return max(0, self.profile.max_seqs - len(self._running) - len(self._waiting))

    @property
    def waiting(self) -> int:
        """How many requests wait in line."""
        return len(self._waiting)

    @property
    def kv_used(self) -> float:
        """Share of KV memory that running requests hold, 0..1."""
        return self._kv.used

    @property
    def row(self) -> Row | None:
        """The row under way, planning it if need be; None when there is nothing to compute."""
        return self._planned(self._looked_ms)

    def add(self, request: Request) -> None:
        """Put a request into the waiting line; raises InvalidInput if it can never fit."""
        self.check(request)
        length, size = request.length, self.profile.block_size
        if not self._waiting or self.batching is not None:
            self._cut()
        if self._row is None:
            self.now_ms = max(self.now_ms, self._looked_ms)
        at = max(self._looked_ms, self.now_ms) if self._row is None else self._looked_ms
        piece = piece_of(request.prefix_block if self.profile.prefix_caching else 0, size)
        self._waiting.append(Seq(request, length, request.prompt_tokens, at, piece))
        self._wake_ms = None

    def check(self, request: Request) -> None:
        """Raise InvalidInput if a request can never fit."""
        room, asked = self._kv.blocks - self._reserve(), request.prompt_tokens + request.length
        if self._blocks(asked + 1) > room:
            most = room * self.profile.block_size
            raise InvalidInput("prompt and output tokens", asked, f"at most {most} (KV memory)")

    def cancel(self, request_id: str) -> Consumed | None:
        """Drop a request; return what it has consumed, None if it is not here."""
        self._cut()
        seq = self._running.get(request_id)
        if seq is not None:
            consumed = seq.consumed(self._decodes.steps, self._row)
            self._leave(seq)
            return consumed
        for waiting in self._waiting:
            if waiting.request.id == request_id:
                self._waiting.remove(waiting)
                return waiting.consumed(self._decodes.steps, None)
        return None

    def has_begun(self, request_id: str) -> bool:
        """Whether a request has ever joined the batch; False if it is not here. O(waiting)."""
        return request_id in self._running or any(
            seq.request.id == request_id and seq.began_ms is not None for seq in self._waiting
        )

    def withdraw(self, request_id: str) -> Request | None:
        """Give back a request that waits and has not begun; None if there is no such one."""
        for seq in self._waiting:
            if seq.request.id == request_id and not seq.begun:
                self._waiting.remove(seq)
                return seq.request
        return None

    def slow_down(self, factor: float) -> None:
        """From the next step on everything takes so many times longer than the profile says."""
        self._cut()
        self._factor = factor
        self._slowness_changed()

    def run_until(self, until_ms: float) -> list[Change]:
        """Take every step that ends by `until_ms`; an idle engine's clock follows.

        A step that has begun is finished as it was planned, whatever arrives meanwhile.
        """
        changes: list[Change] = []
        self._looked_ms = max(self._looked_ms, until_ms)
        while (row := self._planned(until_ms)) is not None:
            if self.now_ms + row.duration_ms > until_ms:
                break
            self._row = None
            self._take(row, changes)
        if not self.busy:
            self.now_ms = max(self.now_ms, until_ms)
        return changes

    def next_change_ms(self) -> float | None:
        """Return when the row under way ends, or held requests are looked at; None when idle."""
        row = self._planned(self._looked_ms)
        if row is not None:
            return self.now_ms + row.duration_ms
        return self._wake_ms if self._waiting else None

    def output_of(self, request_id: str) -> int:
        """Return how many tokens a running request has produced; 0 if it is not running."""
        seq = self._running.get(request_id)
        return seq.produced(self._decodes.steps) if seq else 0

    # -- rows -------------------------------------------------------------------------------------

    def _planned(self, until_ms: float) -> Row | None:
        """Return the row under way, planning the next one if there is none."""
        while self._row is None:
            self._row = self._plan()
            wake = self._wake_ms
            if self._row is not None or not self._waiting or wake is None or wake > until_ms:
                break
            self.now_ms, self._wake_ms = max(self.now_ms, wake), None
        return self._row

    def _plan(self) -> Row | None:
        """Decide what the next step, or row of steps, computes."""
        decodes = self._decodes
        while decodes.count and decodes.growth(1) > self._kv.available:
            self._preempt(self._running[next(reversed(self._running))])
        chunks: list[tuple[Seq, int]] = []
        budget = self.profile.token_budget - decodes.count
        for seq in self._prefilling.values():
            if budget <= 0:
                break
            budget -= self._chunk(seq, budget, chunks)
        if self._waiting:
            self._admit(budget, chunks)
        if chunks:
            return Row(1, self._chunked_ms(chunks), tuple(chunks))
        if not decodes.count:
            return None
        steps = self._row_length()
        return Row(steps, decodes.duration_ms(steps))

    def _row_length(self) -> int:
        """Return how many pure decode steps pass before somebody ends or memory runs out."""
        if self.exact:
            return 1
        decodes, ends = self._decodes, self._ends
        while not self._ends_at(ends[0][2], ends[0][0]):  # it left, or was preempted, before
            heapq.heappop(ends)
        steps = ends[0][0] - decodes.steps
        if self._wake_ms is not None:
            steps = min(steps, decodes.steps_within(self._wake_ms - self.now_ms, steps) + 1)
        return decodes.affordable(steps, self._kv.available)

    def _ends_at(self, seq: Seq, step: int) -> bool:
        return seq.start >= 0 and seq.end == step

    def _chunked_ms(self, chunks: list[tuple[Seq, int]]) -> float:
        cost, decodes = self.profile.cost, self._decodes
        prefills = [(tokens, seq.computed) for seq, tokens in chunks]
        total = cost.step_ms(prefills, decodes.count, decodes.context) * decodes.factor
        for seq, _ in chunks:
            if seq.load_tokens:
                total += seq.load_tokens * cost.load_ms
                seq.load_tokens = 0
        return total

    def _cut(self) -> None:
        """End the row under way with the step in which the caller looks now."""
        row = self._row
        if row is None or row.steps == 1:
            return
        done = self._decodes.steps_within(self._looked_ms - self.now_ms, row.steps - 1)
        if done:
            self._take(Row(done, self._decodes.duration_ms(done)), [])
        self._row = Row(1, self._decodes.duration_ms(1))

    def _take(self, row: Row, changes: list[Change]) -> None:
        """Let the steps of a row happen.

        A request that was cancelled since they began had its share of them for nothing.
        """
        decodes, ends = self._decodes, self._ends
        self.now_ms += row.duration_ms
        self.busy_ms += row.duration_ms
        if decodes.count:
            self._kv.take(decodes.growth(row.steps))
        decodes.advance(row.steps)
        for seq, tokens in row.chunks:
            if self._prefilling.get(seq.request.id) is seq:
                self._computed(seq, tokens, changes)
        while ends and ends[0][0] <= decodes.steps:
            end, _, ended = heapq.heappop(ends)
            if self._ends_at(ended, end):
                changes.append(ended.change(self.now_ms, ended.length, first=False, finished=True))
                self._leave(ended)

    # -- parts of a step --------------------------------------------------------------------------

    def _reserve(self) -> int:
        return int(WATERMARK * self._kv.blocks)

    def _blocks(self, tokens: int) -> int:
        return -(-tokens // self.profile.block_size)

    def _admit(self, budget: int, chunks: list[tuple[Seq, int]]) -> None:
        """Move waiting requests into the batch, in order, as far as they fit."""
        allowed = len(self._waiting) if self.batching is None else self._allowed(self.batching)
        while budget > 0 and allowed > 0 and len(self._running) < self.profile.max_seqs:
            head = self._waiting[0]
            names = list(head.names(head.target - 1))  # the last token is computed in any case
            hit = self._kv.lookup(names, head.piece.blocks)
            if not self._fits(head, hit):
                return
            self._waiting.popleft()
            allowed -= 1
            self._enter(head, names[: hit.units], hit)
            budget -= 1 if head.start >= 0 else self._chunk(head, budget, chunks)

    def _allowed(self, batching: BatchingPolicy) -> int:
        """Ask the batching policy how many may join; remember when to ask again."""
        since = self._waiting[0].since_ms
        at = max(self.now_ms, since)
        running = len(self._running)
        places = max(0, self.profile.max_seqs - running)
        tokens = sum(seq.target for seq in self._waiting)
        view = BatchView(len(self._waiting), running, places, (at - since) / 1000, tokens)
        allowed = min(batching.take(view), len(self._waiting))
        wake = None if allowed else batching.wake_s(view)
        self._wake_ms = None if wake is None else at + max(wake * 1000, 1e-6)
        return allowed

    def _fits(self, seq: Seq, hit: Hit) -> bool:
        """Whether it fits beside what those that run need for the step, and a reserve."""
        needed = self._blocks(seq.target + 2) - hit.units * seq.piece.blocks
        if self._running:
            needed += self._decodes.growth(1) + self._reserve()
        return needed <= self._kv.available - hit.idle * seq.piece.blocks

    def _enter(self, seq: Seq, names: list[int], hit: Hit) -> None:
        request = seq.request
        self._kv.pin(names)
        self._kv.take(self._blocks(seq.target + 1) - hit.units * seq.piece.blocks)
        seq.pins, seq.named = names, hit.units
        seq.load_tokens = hit.loads * seq.piece.tokens
        seq.computed = (hit.units + hit.loads) * seq.piece.tokens
        self._running[request.id] = seq
        if seq.began_ms is None:  # what it finds after a preemption it has computed itself
            seq.began_ms, seq.cached = max(self.now_ms, seq.since_ms), seq.computed
        if request.factor != 1.0:
            self._factors[request.id] = request.factor
            self._slowness_changed()
        if request.prefilled and not seq.begun:  # its KV cache came with it
            seq.computed, seq.output, seq.begun = seq.target, 1, True
            self._name(seq, seq.computed)
            self._decode(seq)
        else:
            self._prefilling[request.id] = seq

    def _slowness_changed(self) -> None:
        slowest = max(self._factors.values()) if self._factors else 1.0
        self._decodes.factor = self._factor * slowest

    def _chunk(self, seq: Seq, budget: int, chunks: list[tuple[Seq, int]]) -> int:
        tokens = min(seq.target - seq.computed, budget)
        chunks.append((seq, tokens))
        return tokens

    def _computed(self, seq: Seq, tokens: int, changes: list[Change]) -> None:
        """A chunk of a prompt is done; the last one yields a token."""
        seq.computed += tokens
        self._name(seq, seq.computed)
        if seq.computed < seq.target:
            return
        del self._prefilling[seq.request.id]
        seq.output += 1
        first, finished = not seq.begun, seq.output >= seq.length
        seq.begun = True
        if first or finished:
            changes.append(seq.change(self.now_ms, seq.output, first=first, finished=finished))
        if finished:
            self._leave(seq)
        else:
            self._decode(seq)

    def _decode(self, seq: Seq) -> None:
        """From the next step on this request decodes."""
        seq.start = self._decodes.steps
        self._decodes.join(seq.request.prompt_tokens + seq.output, seq.target + 1)
        self._serial += 1
        heapq.heappush(self._ends, (seq.end, self._serial, seq))

    def _name(self, seq: Seq, tokens: int) -> None:
        """Let others share the whole pieces among its first so many tokens."""
        piece = seq.piece
        if not piece.tokens or tokens // piece.tokens <= seq.named:
            return
        names = seq.names(tokens)
        for name in names[seq.named :]:
            if self._kv.share(name, piece.blocks):
                seq.pins.append(name)
        seq.named = max(seq.named, len(names))

    def _leave(self, seq: Seq) -> None:
        """Take a request out of the batch; what it computed stays cached while there is room."""
        steps = self._decodes.steps
        held = self._blocks(seq.room(steps))
        if seq.start >= 0:
            context = seq.request.prompt_tokens + seq.produced(steps)
            self._decodes.leave(context, seq.room(steps))
            self._name(seq, context)
            seq.output, seq.start = seq.produced(steps), -1
        self._kv.give(held - len(seq.pins) * seq.piece.blocks)
        self._kv.unpin(seq.pins)
        seq.pins = []
        del self._running[seq.request.id]
        self._prefilling.pop(seq.request.id, None)
        if self._factors.pop(seq.request.id, None) is not None:
            self._slowness_changed()

    def _preempt(self, seq: Seq) -> None:
        """Give up the newest request's blocks; it is computed again, its output included."""
        self._leave(seq)
        seq.most_computed = max(seq.most_computed, seq.computed)
        seq.target, seq.computed, seq.named = seq.request.prompt_tokens + seq.output, 0, 0
        self._waiting.appendleft(seq)
        self.preemptions += 1
