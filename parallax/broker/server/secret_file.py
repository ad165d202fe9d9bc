"""Files that tell the address of a server, and with it a password: who else may read them?"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from parallax.core.errors import InvalidInput
from parallax.core.secrets import has_password

MOST_BYTES = 65_536
#: Where Docker, Podman and Kubernetes put secrets, readable by all: by all of one container.
MOUNTED = ("/run/secrets/", "/var/run/secrets/")


def read_url(path: Path, field: str) -> str:
    """Return the URL in a file. Raises InvalidInput, naming the field, if it cannot be read.

    One with a password must be closed to others; its group may read it, as in containers whose
    user does not own the mounted folder.
    """
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            text = file.read(MOST_BYTES).decode("utf-8-sig").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(field, str(path), f"a file with a URL ({error})") from None
    open_to_others = mode & (stat.S_IROTH | stat.S_IWOTH)
    if open_to_others and has_password(text) and not str(path.absolute()).startswith(MOUNTED):
        allowed = "it tells a password and is not closed to others: chmod o-rwx (defaultMode: 0440)"
        raise InvalidInput(field, str(path), allowed)
    return text
