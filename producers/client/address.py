"""Where Redis is, for a program that does not say."""

from __future__ import annotations

import os
from pathlib import Path

from parallax.broker.server.home import running_server
from parallax.broker.server.secret_file import read_url
from parallax.core.errors import Unreachable

#: The address itself, and a file that holds it: as for the commands.
VARIABLE, FILE_VARIABLE = "PARALLAX_REDIS", "PARALLAX_REDIS_FILE"


def url_in_file() -> str | None:
    """Return the address in the file that the environment names; None if it names none.

    Raises InvalidInput if the file cannot be used.
    """
    file = os.environ.get(FILE_VARIABLE)
    return read_url(Path(file), FILE_VARIABLE) if file else None


def found_url() -> str:
    """Return the address in the environment, or in the file named there, or the embedded server's.

    A program reads no parallax.toml: that is the commands' own.

    Raises Unreachable if there is none of them, InvalidInput if the file cannot be used.
    """
    if url := os.environ.get(VARIABLE):
        return url
    if url := url_in_file():
        return url
    server = running_server()
    if server is None:
        how = f"start one with `parallax up`, set {VARIABLE}, or give the client a URL"
        raise Unreachable(f"no embedded server runs; {how}")
    return server.url
