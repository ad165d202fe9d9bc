"""`echo`: says the words of the prompt again, in the modelled time. For trying out what streams.

It speaks OpenAI's chat completions, plain ones and responses, and makes embeddings. An answer goes
through the words of the last message, one word a token, and begins anew until it is as long as was
asked for; a streamed one comes a step at a time. A request without a body is served as `clock`
serves it: it has no answer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import cycle, islice

from msgspec import structs

from parallax.broker.api import paths
from parallax.consumers.engines.clock import ClockEngine
from parallax.consumers.engines.embeddings import DIMENSIONS, EmbeddingsWriter
from parallax.consumers.engines.interface import Chunk, Done, Event
from parallax.consumers.engines.modelled import event_of
from parallax.consumers.engines.reading import Asked, read
from parallax.consumers.engines.registry import ENGINES, Options
from parallax.consumers.engines.responses import ResponseWriter
from parallax.consumers.engines.writing import ChatWriter, CompletionWriter, End, Usage, Writer
from parallax.core.clock import Clock
from parallax.core.errors import InvalidInput
from parallax.engine.batch import BatchingPolicy
from parallax.engine.profiles import Profile
from parallax.engine.request import Change, Consumed, Request

#: The answer to a prompt without words.
_NOTHING = ("nothing",)

_WRITERS: Mapping[str, Callable[[str, int, str], Writer]] = {
    paths.CHAT: ChatWriter,
    paths.COMPLETIONS: CompletionWriter,
    paths.RESPONSES: ResponseWriter,
}


@dataclass(slots=True)
class Talk:
    """A request with a body, while it is in the engine."""

    asked: Asked
    request: Request
    writer: Writer
    words: Sequence[str]
    told: int = 0  # tokens that were told in chunks

    @property
    def finish_reason(self) -> str:
        """Why the answer ends where it ends."""
        return "stop" if self.request.length < self.most else "length"

    @property
    def most(self) -> int:
        """The most tokens that the answer may have."""
        asked = self.asked.max_tokens
        return self.request.max_tokens if asked is None else min(asked, self.request.max_tokens)

    def text(self, start: int, end: int) -> str:
        """Return the tokens from `start` to `end`: one word each."""
        offset = start % len(self.words)
        chosen = islice(cycle(self.words), offset, offset + end - start)
        return (" " if start and end > start else "") + " ".join(chosen)

    def chunk(self, at: float, produced: int) -> list[Event]:
        """Return the events to report now that so many tokens are there."""
        if produced <= self.told:
            return []
        text, first = self.text(self.told, produced), self.told == 0
        self.told = produced
        return self._chunks(at, self.writer.more(text, first=first), produced)

    def end(self, done: Done) -> list[Event]:
        """Return the last chunks of a stream, and the end with the whole answer."""
        usage = Usage(self.request.prompt_tokens, done.output_tokens)
        text = self.text(0, done.output_tokens)
        end = End(text, self.finish_reason, usage, self.asked.include_usage)
        whole = structs.replace(done, answer=self.writer.whole(end))
        if not self.request.stream:
            return [whole]
        before = self.chunk(done.at, done.output_tokens)
        tail = self._chunks(done.at, self.writer.last(end), done.output_tokens)
        return [*before, *tail, whole]

    def _chunks(self, at: float, payloads: Sequence[bytes], tokens: int) -> list[Event]:
        return [Chunk(self.request.id, at, data, tokens) for data in payloads]


class EchoEngine(ClockEngine):
    """See the module's docstring."""

    name = "echo"
    reads_bodies = True

    def __init__(
        self, profile: Profile, speed: float, clock: Clock, batching: BatchingPolicy | None = None
    ) -> None:
        super().__init__(profile, speed, clock, batching=batching)
        self._talks: dict[str, Talk] = {}
        self._streams: dict[str, Talk] = {}

    def add(self, request: Request, now: float) -> None:
        """See `interface.Engine`."""
        talk = self._talk(request) if request.body else None
        super().add(talk.request if talk else request, now)
        if talk is not None:
            self._talks[request.id] = talk
            if request.stream:
                self._streams[request.id] = talk
                self._engine.exact = True  # each step is looked at, for it brings a chunk

    def stop(self, request_id: str) -> Consumed | None:
        """See `interface.Engine`."""
        self._forget(request_id)
        return super().stop(request_id)

    def _talk(self, request: Request) -> Talk:
        asked = read(request.body)
        if request.stream and asked.path not in paths.STREAMING:
            raise InvalidInput("stream", True, f"what {asked.path} answers cannot be streamed")
        writer = self._writer(request.id, asked)
        talk = Talk(asked, request, writer, asked.texts[-1].split() or _NOTHING)
        if asked.path == paths.EMBEDDINGS:  # nothing is said: it takes no longer than a token
            talk.request = replace(request, output_tokens=1)
        elif request.output_tokens is None:
            talk.request = replace(request, output_tokens=talk.most)
        return talk

    def _writer(self, id_: str, asked: Asked) -> Writer:
        model = asked.model or self.name
        if asked.path == paths.EMBEDDINGS:
            length = asked.dimensions or DIMENSIONS
            return EmbeddingsWriter(model, asked.texts, length, asked.base64)
        writer = _WRITERS[asked.path]
        return writer(id_, int(self._clock.now()), model)

    def _forget(self, request_id: str) -> None:
        self._talks.pop(request_id, None)
        if self._streams.pop(request_id, None) is not None and not self._streams:
            self._engine.exact = False

    def _events(self, changes: Sequence[Change], now: float) -> list[Event]:
        events: list[Event] = []
        for change in changes:
            event = event_of(change, self._at(change.at_ms), self._at(change.began_ms))
            talk = self._talks.get(change.id)
            if talk is not None and isinstance(event, Done):
                events += talk.end(event)
                self._forget(change.id)
            else:
                events.append(event)
        for name, talk in self._streams.items():
            events += talk.chunk(now, self._engine.output_of(name))
        return events


@ENGINES.register("echo")
def build(options: Options) -> EchoEngine:
    """Says the words of the prompt again, in the modelled time."""
    return EchoEngine(options.profile, options.speed, options.clock, batching=options.batching)
