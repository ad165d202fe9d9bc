"""Extracts from a worker's report on an attempt what the metrics count."""

from __future__ import annotations

from typing import Protocol


class Report(Protocol):
    """The figures of an attempt. The message that the broker reads and writes has them all."""

    @property
    def prompt_tokens(self) -> int:
        """Return the length of the prompt."""

    @property
    def output_tokens(self) -> int:
        """Return the length of the answer."""

    @property
    def cached_tokens(self) -> int:
        """Return how many tokens of the prompt were found in a cache."""

    @property
    def wait_s(self) -> float | None:
        """Return the seconds from acceptance to the start of the attempt."""

    @property
    def ttft_s(self) -> float | None:
        """Return the seconds from acceptance to the first token."""

    @property
    def service_s(self) -> float | None:
        """Return the seconds from the start of the attempt to its end."""
