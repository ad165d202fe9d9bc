"""The pages as they were exported: files, with a policy that lets them run no script but theirs."""

from __future__ import annotations

import base64
import hashlib
import re
from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, Response

STATIC = Path(__file__).parent / "static"

#: Inline scripts of an exported page: their digests are what its policy allows.
_SCRIPT = re.compile(rb"<script(?![^>]*\bsrc=)[^>]*>(.*?)</script>", re.DOTALL)

_YEAR = "public, max-age=31536000, immutable"

_MISSING = """<!doctype html><html lang="en"><title>Parallax</title>
<h1>The pages of the dashboard are not here</h1>
<p>This installation of Parallax was built without them (<code>make dashboard</code> builds them in
a checkout). The API is: <a href="/api/overview">/api/overview</a>.</p></html>"""

#: What every answer says, pages or not.
HEADERS = {
    "x-content-type-options": "nosniff", "referrer-policy": "no-referrer",
    "x-frame-options": "DENY", "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
}  # fmt: skip


def policy(html: bytes = b"") -> str:
    """Return the content security policy of a page: its own scripts, and nothing of others."""
    digests = sorted({hashlib.sha256(one).digest() for one in _SCRIPT.findall(html)})
    scripts = "".join(f" 'sha256-{base64.b64encode(one).decode()}'" for one in digests)
    return (
        f"default-src 'self'; script-src 'self'{scripts}; style-src 'self' 'unsafe-inline'; "
        "img-src 'self' data:; connect-src 'self'; object-src 'none'; base-uri 'none'; "
        "form-action 'none'; frame-ancestors 'none'"
    )


class Pages:
    """Serves the files of a directory; what it does not have is told by its `404.html`."""

    def __init__(self, directory: Path = STATIC) -> None:
        self._root = directory.resolve()
        self._policies: dict[Path, tuple[float, str]] = {}

    async def __call__(self, request: Request) -> Response:
        """Answer a request for a page or a part of one."""
        found = self._file(request.url.path)
        if found is None:
            missing = self._root / "404.html"
            if not missing.is_file():
                if request.url.path in ("/", "/index.html"):
                    return HTMLResponse(_MISSING, headers={"content-security-policy": policy()})
                raise HTTPException(404)
            return self._page(missing, 404)
        if found.suffix == ".html":
            return self._page(found, 200)
        kept = _YEAR if "_next" in found.relative_to(self._root).parts else "no-cache"
        return FileResponse(found, headers={"cache-control": kept})

    def _page(self, file: Path, status: int) -> Response:
        headers = {"cache-control": "no-cache", "content-security-policy": self._policy(file)}
        return FileResponse(file, status, headers)

    def _policy(self, file: Path) -> str:
        changed = file.stat().st_mtime
        known = self._policies.get(file)
        if known is None or known[0] != changed:
            known = self._policies[file] = (changed, policy(file.read_bytes()))
        return known[1]

    def _file(self, path: str) -> Path | None:
        """Return the file that a path means; never one outside of the directory."""
        if "\x00" in path:
            return None
        wanted = path.strip("/")
        for name in (wanted, f"{wanted}/index.html", f"{wanted}.html"):
            file = (self._root / name.lstrip("/")).resolve()
            if file.is_relative_to(self._root) and file.is_file():
                return file
        return None
