"""The files of the pages, as they lie in `littoral/web/assets`, read once, under a policy that lets nothing else in."""

import hashlib
from importlib import resources
from importlib.resources.abc import Traversable

from littoral.errors import NotFoundError
from littoral.web.messages import Answer, Request

__all__ = ["POLICY", "PageAssets"]

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
MEDIA_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}
TEXT = "text/plain; charset=utf-8"
CACHING = "no-cache"  # kept by the browser, asked for again with its tag: a new version is seen at once


class PageAssets:
    """Only what was in the folder at the start is ever served: a path is looked up, never opened."""

    def __init__(self) -> None:
        self._files: dict[str, tuple[bytes, str]] = {}
        self._read(resources.files("littoral.web") / "assets", "")

    def _read(self, folder: Traversable, prefix: str) -> None:
        for entry in folder.iterdir():
            if entry.is_dir():
                self._read(entry, f"{prefix}{entry.name}/")
            else:
                self._keep(prefix + entry.name, entry.read_bytes())

    def _keep(self, name: str, data: bytes) -> None:
        self._files[name] = (data, f'"{hashlib.sha256(data).hexdigest()[:32]}"')

    def names(self) -> list[str]:
        return sorted(self._files)

    def text(self, name: str) -> str:
        """Of a file that is there."""
        return self._files[name][0].decode()

    def put(self, name: str, text: str) -> None:
        """One more, made of others."""
        self._keep(name, text.encode())

    def answer(self, name: str, request: Request) -> Answer:
        """Raises NotFoundError."""
        if (found := self._files.get(name)) is None:
            raise NotFoundError("no such file among the page's")
        data, tag = found
        headers = (("content-security-policy", POLICY), ("cache-control", CACHING), ("etag", tag))
        media_type = MEDIA_TYPES.get(name[name.rfind(".") :], TEXT)
        if request.headers.get("if-none-match") == tag:
            return Answer(b"", 304, media_type, headers)
        return Answer(data, 200, media_type, headers)
