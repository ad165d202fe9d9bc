"""The settings of a gateway: its timeouts and its bounds."""

from __future__ import annotations

from dataclasses import dataclass

from parallax.core.model import MAX_TOKENS, check_int, check_model, check_number


@dataclass(frozen=True, slots=True)
class GatewaySettings:
    """Times are in seconds, sizes in bytes."""

    max_body: int = 1_000_000  # of a request; the store takes about a megabyte of a whole job
    max_open: int = 10_000  # requests under way at once
    max_tokens: int = 256  # longest answer, where a request does not say
    head_s: float = 2.0  # a stream without news for so long begins with comments
    comment_s: float = 5.0  # between two comments of a stream that waits
    hold_s: float = 60.0  # how long a request waits for a worker that serves its model
    learn_s: float = 5.0  # for so long after the start no model is unknown: its workers may come
    wait_s: float = 600.0  # longest wait without news of a job
    receive_head_s: float = 20.0  # how long the head of a request may take to come
    body_s: float = 30.0  # how long a body may take to come
    max_idle: int = 2_000  # connections at once on which no request is under way
    slow_client_s: float = 30.0  # a client that reads nothing for so long has left
    drain_s: float = 30.0  # how long requests under way may take to end after SIGTERM
    replicas: int = 0  # that are to hold a job before its answer says that it is kept; 0: any
    aliases: tuple[tuple[str, str], ...] = ()  # other names of models, and what each stands for
    default_model: str = ""  # for requests that name none; '' = any

    def __post_init__(self) -> None:
        check_int("max_body", self.max_body, 1_000, 1 << 30)
        check_int("max_open", self.max_open, 1, 1_000_000)
        check_int("max_tokens", self.max_tokens, 1, MAX_TOKENS)
        check_number("head_s", self.head_s, 0.0, 60.0)
        check_number("comment_s", self.comment_s, 0.01, 60.0)
        check_number("hold_s", self.hold_s, 0.0, 3600.0)
        check_number("learn_s", self.learn_s, 0.0, 600.0)
        check_number("wait_s", self.wait_s, 0.1, 86_400.0)
        check_number("receive_head_s", self.receive_head_s, 0.1, 3600.0)
        check_int("max_idle", self.max_idle, 1, 1_000_000)
        check_number("body_s", self.body_s, 0.1, 3600.0)
        check_number("slow_client_s", self.slow_client_s, 0.1, 3600.0)
        check_int("replicas", self.replicas, 0, 10)
        check_number("drain_s", self.drain_s, 0.0, 3600.0)
        if self.default_model:
            check_model("default_model", self.default_model)
        for alias, model in self.aliases:
            check_model("alias", alias)
            check_model(f"alias {alias}", model)
