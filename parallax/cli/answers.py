"""How commands show answers of engines: their text to people, the document to programs."""

from __future__ import annotations

import json
from typing import Any

import click

from parallax.core.text import printable_lines
from parallax.producers.client.chat import answer_text


def document(answer: bytes) -> Any:
    """Return an answer as JSON shows it: the document that it is, else its text; None for none."""
    if not answer:
        return None
    try:
        return json.loads(answer)
    except (ValueError, RecursionError):
        return answer.decode("utf-8", "replace")


def write_answer(answer: bytes) -> None:
    """Write what an answer says, or the answer if it is no chat, as text that ends its line."""
    text = answer_text(answer)
    said = answer.decode("utf-8", "replace") if text is None else text
    click.echo(printable_lines(said), nl=not said.endswith("\n"))
