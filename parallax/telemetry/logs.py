"""Logs: short lines for a human on a terminal, JSON lines for a machine; one record, one line.

Whatever a job or a tenant is called, it cannot forge a line or steer a terminal: control characters
are escaped. Secrets in URLs are cut out. A message is at most 2,000 characters.
"""

from __future__ import annotations

import json
import logging
from typing import TextIO

from parallax.core.secrets import redacted
from parallax.core.text import printable

MAX_CHARACTERS = 2_000


def clean(text: str) -> str:
    """Return text that stays on its line: secrets cut out, control characters escaped, bounded."""
    shown = printable(redacted(text))
    return shown if len(shown) <= MAX_CHARACTERS else shown[: MAX_CHARACTERS - 3] + "..."


class HumanFormatter(logging.Formatter):
    """`12:34:56 WARNING name: message`."""

    def format(self, record: logging.LogRecord) -> str:
        """Render one line."""
        time = self.formatTime(record, "%H:%M:%S")
        name = record.name.rpartition(".")[2]
        return clean(f"{time} {record.levelname.lower():7} {name}: {_message(record, self)}")


class JsonFormatter(logging.Formatter):
    """One JSON object per line: time, level, logger, message."""

    def format(self, record: logging.LogRecord) -> str:
        """Render one line."""
        return json.dumps(
            {
                "time": round(record.created, 3),
                "level": record.levelname.lower(),
                "logger": record.name,
                "message": clean(_message(record, self)),
            }
        )


def _message(record: logging.LogRecord, formatter: logging.Formatter) -> str:
    message = record.getMessage()
    if record.exc_info:
        message = f"{message}\n{formatter.formatException(record.exc_info)}"
    return message


def configure(level: int, stream: TextIO, *, json: bool) -> None:
    """Send all logs to `stream`."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter() if json else HumanFormatter())
    logging.basicConfig(level=level, handlers=[handler], force=True)
