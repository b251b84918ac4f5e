"""The one door to object storage: whatever speaks S3, asked by obstore.

Credentials are where the tools of S3 look for them: `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`, or the machine's
role.
"""

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, PreconditionError
from obstore.store import S3Store

from littoral.clock import SYSTEM
from littoral.errors import NotFoundError, SettingError, UnavailableError
from littoral.orchestrator.leases import Lease, Tagged
from littoral.updates.metadata.store import Lock

__all__ = ["S3Objects"]

TIMEOUT_S = 30
RETRY_S = 20
LOCK = ".lock"

_T = TypeVar("_T")


class S3Objects:
    """url: `s3://BUCKET/PREFIX`. endpoint: of a storage that is not Amazon's. `Objects`; raises SettingError."""

    def __init__(self, url: str, *, endpoint: str | None = None, region: str = "us-east-1") -> None:
        parts = urlsplit(url)
        if parts.scheme != "s3" or not parts.netloc:
            raise SettingError(f"objects: address is `{url}`, must be like `s3://bucket/prefix`")
        self._url = url
        more: Any = {} if endpoint is None else {"endpoint": endpoint}
        try:
            self._store = S3Store(
                parts.netloc,
                prefix=parts.path.strip("/") or None,
                region=region,
                virtual_hosted_style_request=False,
                client_options={"allow_http": (endpoint or "").startswith("http:"), "timeout": f"{TIMEOUT_S}s"},
                retry_config={"retry_timeout": timedelta(seconds=RETRY_S)},
                **more,
            )
        except BaseError as error:
            raise SettingError(f"objects `{url}`: {error}") from error

    def put(self, name: str, data: bytes) -> None:
        self._asked(lambda: obstore.put(self._store, name, data))

    def put_file(self, name: str, file: Path) -> None:
        self._asked(lambda: obstore.put(self._store, name, file))
        file.unlink()

    def get(self, name: str) -> bytes | None:
        try:
            return self._asked(lambda: bytes(obstore.get(self._store, name).bytes()))
        except NotFoundError:
            return None

    def length(self, name: str) -> int | None:
        try:
            return self._asked(lambda: obstore.head(self._store, name)["size"])
        except NotFoundError:
            return None

    def read(self, name: str, start: int, length: int) -> bytes:
        return self._asked(lambda: bytes(obstore.get_range(self._store, name, start=start, length=length)))

    def delete(self, name: str) -> None:
        try:
            self._asked(lambda: obstore.delete(self._store, name))
        except NotFoundError:
            return

    def names(self, prefix: str) -> Iterator[str]:
        folder = prefix.rpartition("/")[0]
        for page in self._asked(lambda: [*obstore.list(self._store, folder or None)]):
            for found in page:
                if found["path"].startswith(prefix) and not found["path"].endswith(LOCK):
                    yield found["path"]

    def lock(self, name: str) -> Lock:
        return Lease(_Cell(self, f"{name}{LOCK}"), f"{self._url}/{name}", SYSTEM)

    def tagged(self, name: str) -> Tagged | None:
        """All of a small one with its ETag; None where there is none."""

        def ask() -> Tagged:
            found = obstore.get(self._store, name)
            return Tagged(bytes(found.bytes()), str(found.meta["e_tag"]))

        try:
            return self._asked(ask)
        except NotFoundError:
            return None

    def put_if(self, name: str, data: bytes, tag: str | None) -> str | None:
        """Where its ETag is this, or there is none (None). The new one; None where it is another."""
        mode: Any = "create" if tag is None else {"e_tag": tag}

        def ask() -> str | None:
            try:
                return str(obstore.put(self._store, name, data, mode=mode, use_multipart=False)["e_tag"])
            except (AlreadyExistsError, PreconditionError):
                return None

        try:
            return self._asked(ask)
        except NotFoundError:
            return None

    def _asked(self, ask: Callable[[], _T]) -> _T:
        try:
            return ask()
        except FileNotFoundError as error:
            raise NotFoundError(f"objects `{self._url}`: {error}") from error
        except (BaseError, OSError) as error:
            raise UnavailableError(f"objects `{self._url}`: {error}") from error


class _Cell:
    """One object. A `Cell`."""

    def __init__(self, objects: S3Objects, name: str) -> None:
        self._objects = objects
        self._name = name

    def read(self) -> Tagged | None:
        return self._objects.tagged(self._name)

    def write(self, data: bytes, tag: str | None) -> str | None:
        return self._objects.put_if(self._name, data, tag)
