"""Bodies of requests as the gateway reads them: the fields that it needs, and no more.

A body is stored as it came; fields that are not here are the engine's. These shapes are also what
the OpenAPI document says of requests.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from parallax.broker.api.shapes import Item, Message, StreamOptions, is_tokens, texts_of
from parallax.core.model import MAX_TOKENS
from parallax.producers.client.chat import TOKEN_BYTES
from parallax.producers.gateway.problems import Code, Problem

#: Most answers that one request may ask for: choices of each of its prompts.
MOST_CHOICES = 16

#: Most texts that one request may have embedded.
MOST_INPUTS = 2048

_Tokens = Annotated[int, msgspec.Meta(ge=1, le=MAX_TOKENS)] | None
_Choices = Annotated[int, msgspec.Meta(ge=1, le=MOST_CHOICES)] | None
_Name = Annotated[str, msgspec.Meta(max_length=512)] | None
_TokenId = Annotated[int, msgspec.Meta(ge=0, le=2**31)]
_Texts = (
    str
    | Annotated[
        list[str | _TokenId | list[_TokenId]], msgspec.Meta(min_length=1, max_length=MAX_TOKENS)
    ]
)


class Common(msgspec.Struct):
    """The fields that all kinds of requests share."""

    model: Annotated[str, msgspec.Meta(max_length=256)] = ""
    stream: bool | None = None
    user: _Name = None
    safety_identifier: _Name = None
    prompt_cache_key: _Name = None
    service_tier: Annotated[str, msgspec.Meta(max_length=64)] | None = None
    priority: Annotated[int, msgspec.Meta(ge=-(2**53), le=2**53)] | None = None

    def told(self) -> bytes:
        """Return what the engine is told before its answer, in its order."""
        raise NotImplementedError

    def check(self) -> None:
        """Raise Problem for a feature that is understood, and not served."""

    @property
    def longest(self) -> int | None:
        """The longest answer that is wanted, in tokens; None where it is not said."""
        return None

    @property
    def answers(self) -> int:
        """How many answers are wanted."""
        return 1


class Completing(Common):
    """The fields that chat requests and plain completion requests share."""

    stream_options: StreamOptions | None = None
    max_tokens: _Tokens = None
    max_completion_tokens: _Tokens = None
    n: _Choices = None

    @property
    def longest(self) -> int | None:
        """See `Common`."""
        return self.max_completion_tokens or self.max_tokens

    @property
    def answers(self) -> int:
        """See `Common`."""
        return self.n or 1


class ChatRequest(Completing, kw_only=True):
    """The body of `/v1/chat/completions`."""

    messages: Annotated[list[Message], msgspec.Meta(min_length=1)]
    tools: msgspec.Raw = msgspec.field(default_factory=msgspec.Raw)

    def told(self) -> bytes:
        """See `Common`."""
        said = [bytes(self.tools)]
        for message in self.messages:
            content = message.content
            texts = [content or ""] if not isinstance(content, list) else texts_of(content)
            said += [message.role.encode(), *(text.encode() for text in texts)]
        return b"\n".join(said)


class CompletionRequest(Completing, kw_only=True):
    """The body of `/v1/completions`: one prompt or several, as texts or as ids of tokens."""

    prompt: _Texts

    @property
    def prompts(self) -> list[Any]:
        """Each prompt by itself."""
        found = self.prompt
        return [found] if isinstance(found, str) or is_tokens(found) else list(found)

    @property
    def answers(self) -> int:
        """See `Common`."""
        return (self.n or 1) * len(self.prompts)

    def check(self) -> None:
        """See `Common`."""
        _check_mixed("prompt", self.prompt)
        if self.answers > MOST_CHOICES:
            said = f"prompt: at most {MOST_CHOICES} answers in one request ({self.answers} asked)"
            raise Problem(400, Code.INVALID, said, param="prompt")

    def told(self) -> bytes:
        """See `Common`."""
        return b"".join(map(_bytes, self.prompts))


class ResponsesRequest(Common, kw_only=True):
    """The body of `/v1/responses`."""

    input: str | Annotated[list[Item], msgspec.Meta(min_length=1)]
    instructions: str | None = None
    max_output_tokens: _Tokens = None
    background: bool | None = None
    previous_response_id: str | None = None
    tools: msgspec.Raw = msgspec.field(default_factory=msgspec.Raw)

    @property
    def longest(self) -> int | None:
        """See `Common`."""
        return self.max_output_tokens

    def check(self) -> None:
        """See `Common`."""
        if self.background:
            said = "background: responses are not kept; ask without it, and stream"
            raise Problem(400, Code.INVALID, said, param="background")
        if self.previous_response_id is not None:
            said = "previous_response_id: responses are not kept; send the whole conversation"
            raise Problem(400, Code.INVALID, said, param="previous_response_id")

    def told(self) -> bytes:
        """See `Common`."""
        said = [bytes(self.tools), (self.instructions or "").encode()]
        found = [Item(content=self.input)] if isinstance(self.input, str) else self.input
        for item in found:
            said += [item.role.encode(), *(text.encode() for text in texts_of(item.content))]
        return b"\n".join(said)


class Unstreamed(Common):
    """A request whose answer is no text, and comes whole."""

    def check(self) -> None:
        """See `Common`."""
        if self.stream:
            raise Problem(400, Code.INVALID, "stream: this comes whole", param="stream")

    @property
    def longest(self) -> int | None:
        """See `Common`: nothing is said."""
        return 1


class EmbeddingsRequest(Unstreamed, kw_only=True):
    """The body of `/v1/embeddings`."""

    input: _Texts
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: Annotated[int, msgspec.Meta(ge=1, le=65_536)] | None = None

    def check(self) -> None:
        """See `Common`."""
        super().check()
        _check_mixed("input", self.input)
        if not is_tokens(self.input) and len(self.input) > MOST_INPUTS and self._listed:
            said = f"input: at most {MOST_INPUTS} texts in one request"
            raise Problem(400, Code.INVALID, said, param="input")

    @property
    def _listed(self) -> bool:
        return isinstance(self.input, list)

    def told(self) -> bytes:
        """See `Common`."""
        found = self.input
        whole = [found] if isinstance(found, str) or is_tokens(found) else found
        return b"".join(map(_bytes, whole))


class TokenizeRequest(Unstreamed):
    """The body of `/tokenize`: a text, by either of its names."""

    prompt: str | None = None
    content: str | None = None

    def check(self) -> None:
        """See `Common`."""
        super().check()
        if (self.prompt is None) == (self.content is None):
            said = "prompt: send a text as `prompt`, or as `content`"
            raise Problem(400, Code.INVALID, said, param="prompt")

    def told(self) -> bytes:
        """See `Common`."""
        return (self.prompt or self.content or "").encode()


def _check_mixed(name: str, found: Any) -> None:
    """Refuse a list that is neither of texts, nor of tokens, nor of lists of them."""
    if isinstance(found, str) or all(type(one) is int for one in found):
        return
    if not all(isinstance(one, str) or is_tokens(one) for one in found):
        said = f"{name}: a text, tokens, or a list of either"
        raise Problem(400, Code.INVALID, said, param=name)


def _bytes(text: Any) -> bytes:
    """Return a text; a token counts as many bytes as tokens usually have."""
    if isinstance(text, str):
        return text.encode()
    return b"".join(token.to_bytes(TOKEN_BYTES, "big") for token in text)
