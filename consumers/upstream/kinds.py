"""Describes each kind of server: its paths, and how to read their answers.

kind      is well   slots               KV cache                 load
llamacpp  /health   /props total_slots  n_ctx of a slot x slots  /metrics, /slots
vllm      /health   -                   /metrics cache_config    /metrics
sglang    /health   /get_server_info    max_total_num_tokens     /metrics
tgi       /health   /info               -                        /metrics
ollama    /         -                   -                        -
openai    /v1/models -                  -                        -
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any

#: Slots of a server that does not say how many it has. vLLM batches up to 256 by default; the
#: others begin to queue much sooner. A request queued there is out of the scheduler's reach.
USUAL_SLOTS: Mapping[str, int] = {
    "vllm": 64, "sglang": 64, "llamacpp": 1, "ollama": 1, "tgi": 32, "openai": 16,
}  # fmt: skip

#: Most models that are read of one server.
MOST_MODELS = 1_000

_MOST = 100_000_000


@dataclass(frozen=True, slots=True)
class Facts:
    """A server's description of itself."""

    kind: str
    models: tuple[str, ...] = ()
    slots: int | None = None
    kv_capacity: int = 0  # tokens; 0: not known
    context: int = 0  # longest request in tokens; 0: not known


@dataclass(frozen=True, slots=True)
class Load:
    """A server's report of its load."""

    running: float | None = None
    waiting: float | None = None
    kv_used: float | None = None  # 0..1


@dataclass(frozen=True, slots=True)
class Kind:
    """Paths of one kind: of health, of what it says of itself, and of its load."""

    health: str
    about: str = ""
    metrics: str = "/metrics"
    running: tuple[str, ...] = ()  # names of gauges; the first that is there counts
    waiting: tuple[str, ...] = ()
    kv_used: tuple[str, ...] = ()


KINDS: Mapping[str, Kind] = {
    "llamacpp": Kind(
        "/health", "/props", "/metrics", ("llamacpp:requests_processing",),
        ("llamacpp:requests_deferred",), ("llamacpp:kv_cache_usage_ratio",),
    ),
    "vllm": Kind(
        "/health", "", "/metrics", ("vllm:num_requests_running",), ("vllm:num_requests_waiting",),
        ("vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc"),
    ),
    "sglang": Kind(
        "/health", "/get_server_info", "/metrics", ("sglang:num_running_reqs",),
        ("sglang:num_queue_reqs",), ("sglang:token_usage",),
    ),
    "tgi": Kind(
        "/health", "/info", "/metrics", ("tgi_batch_current_size",), ("tgi_queue_size",),
    ),
    "ollama": Kind("/", "", ""),
    "openai": Kind("/v1/models", "", ""),
}  # fmt: skip


def kind_of(models: Any) -> str:
    """Tell the kind of a server by its list of models; '' if that says nothing.

    Each of them writes its own name where OpenAI writes whose a model is.
    """
    first = next(iter(_rows(models)), {})
    owners = {"vllm": "vllm", "sglang": "sglang", "llamacpp": "llamacpp", "library": "ollama"}
    return owners.get(str(first.get("owned_by")), "")


def _rows(document: Any) -> list[dict[str, Any]]:
    rows = document.get("data") if isinstance(document, dict) else None
    return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []


def models_of(document: Any) -> tuple[str, ...]:
    """Return the names in a list of models, as far as they are names."""
    found = [row.get("id") for row in _rows(document)]
    return tuple(name for name in found if isinstance(name, str) and name)[:MOST_MODELS]


#: Slots, tokens of KV cache, longest request.
_Size = tuple[int | None, int | None, int | None]


@dataclass(frozen=True, slots=True)
class _Said:
    about: dict[str, Any]
    metrics: str


def facts_of(kind: str, models: Any, about: Any, metrics: str) -> Facts:
    """Combine a server's answers: its list of models, its description, its metrics."""
    slots, kv, context = _READ[kind](_Said(about if isinstance(about, dict) else {}, metrics))
    if not context:
        lengths = [_whole(row.get("max_model_len")) for row in _rows(models)]
        context = max((length for length in lengths if length), default=0)
    return Facts(kind, models_of(models), slots, kv or 0, context or 0)


def _llamacpp(said: _Said) -> _Size:
    slots = _whole(said.about.get("total_slots"))
    settings = said.about.get("default_generation_settings")
    context = _whole(settings.get("n_ctx")) if isinstance(settings, dict) else None
    return slots, slots * context if slots and context else None, context


def _vllm(said: _Said) -> _Size:
    for name, labels, _ in series(said.metrics):
        if name == "vllm:cache_config_info":
            blocks, size = (_number(labels.get(k)) for k in ("num_gpu_blocks", "block_size"))
            if blocks and size:
                return None, _whole(int(blocks * size)), None
    return None, None, None


def _sglang(said: _Said) -> _Size:
    slots, kv = (
        _whole(said.about.get("max_running_requests")),
        _whole(said.about.get("max_total_num_tokens")),
    )
    return slots, kv, _whole(said.about.get("context_length"))


def _tgi(said: _Said) -> _Size:
    slots = _whole(said.about.get("max_batch_size")) or _whole(
        said.about.get("max_concurrent_requests")
    )
    return slots, None, _whole(said.about.get("max_total_tokens"))


def _none(_: _Said) -> _Size:
    return None, None, None


_READ = {
    "llamacpp": _llamacpp, "vllm": _vllm, "sglang": _sglang, "tgi": _tgi,
    "ollama": _none, "openai": _none,
}  # fmt: skip


def load_of(kind: str, metrics: str) -> Load:
    """Read the load in a server's metrics; several engines of one server are summed up."""
    names = KINDS[kind]
    found: dict[str, list[float]] = {}
    for name, _, value in series(metrics):
        found.setdefault(name, []).append(value)

    def first(which: tuple[str, ...]) -> list[float]:
        return next((found[name] for name in which if name in found), [])

    running, waiting, kv = first(names.running), first(names.waiting), first(names.kv_used)
    return Load(
        sum(running) if running else None,
        sum(waiting) if waiting else None,
        min(1.0, max(0.0, sum(kv) / len(kv))) if kv else None,
    )


def kv_of_slots(slots: Any) -> float | None:
    """Return the share of llama.cpp's KV cache that its running requests hold.

    An idle slot's cache makes way for the next request, so it does not count.
    """
    held = total = 0
    for slot in slots if isinstance(slots, list) else ():
        if isinstance(slot, dict) and (size := _whole(slot.get("n_ctx"))):
            total += size
            tokens = [_whole(slot.get(name)) or 0 for name in ("n_prompt_tokens", "n_past")]
            held += min(size, max(tokens)) if slot.get("is_processing") else 0
    return held / total if total else None


_SERIES = re.compile(r"^([a-zA-Z_:][\w:]*)(?:\{(.*)\})?\s+(\S+)", re.MULTILINE)
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


def series(text: str) -> Iterator[tuple[str, dict[str, str], float]]:
    """Yield name, labels and value of each series in Prometheus' format; odd ones are left out."""
    for found in _SERIES.finditer(text):
        value = _number(found[3])
        if value is not None:
            yield found[1], dict(_LABEL.findall(found[2] or "")), value


def _number(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if isfinite(number) else None


def _whole(value: Any) -> int | None:
    return value if type(value) is int and 0 < value <= _MOST else None
