"""From a file, bytes or a model to machine code: digest, choice of the engine, cache.

A path is the fastest source: a file that was hashed before is only looked up, neither read nor hashed.
"""

import contextlib
import functools
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from littoral.artifact.manifest import AGENT_SECTION, MODEL_SECTION
from littoral.artifact.model import FILE_BYTES_MAX, Model
from littoral.artifact.sections import custom_section
from littoral.artifact.sections import digest as digest_of
from littoral.artifact.store import Store
from littoral.clock import SYSTEM, Clock
from littoral.errors import ArtifactError, LittoralError, NotFoundError, TooLargeError, TrustError
from littoral.runtime.code_cache import CodeCache, CodeKey, cpu_features
from littoral.runtime.engine import (
    EngineKind,
    MachineCode,
    compile_module,
    configuration,
    engine_version,
    map_machine_code,
)
from littoral.runtime.file_identity import FileIdentity
from littoral.runtime.foreign_code import STRANGERS, CompileBounds, compile_foreign
from littoral.runtime.interface import shares_memory
from littoral.runtime.verified import VerifiedDigests
from littoral.settings import cache_folder, number, state_folder

__all__ = ["LoadedModule", "Source", "code_cache", "has_machine_code", "load_module", "naming"]

Source = Model | bytes | bytearray | memoryview | str | os.PathLike[str]

_HINTS = {
    MODEL_SECTION: "only modules made by `littoral build` or `littoral.compile` are models",
    AGENT_SECTION: "an agent carries its manifest in this section: docs/reference/agent-abi.md",
}


class LoadedModule(NamedTuple):
    """Machine code, and the manifest as the module's bytes have it. is_cached: nothing had to be compiled."""

    code: MachineCode
    digest: str
    manifest: bytes
    is_cached: bool


def load_module(
    source: Source,
    section: str,
    *,
    engine: EngineKind | None = None,
    sha256: str | None = None,
    bounds: CompileBounds | None = STRANGERS,
    clock: Clock = SYSTEM,
) -> LoadedModule:
    """The module in `source`, ready to be instantiated.

    section: the custom section with its manifest. engine: None = trusted if this installation compiled the module,
    else guarded. sha256: what the file must have, in hex. bounds: for compiling a module from elsewhere, None = it is
    ours. Errors name the file.
    Raises NotFoundError, TooLargeError, ArtifactError, TrustError, SetupError.
    """
    here = _installation(state_folder(), cache_folder(), number("LITTORAL_CODE_CACHE_MB") << 20)
    if not isinstance(source, str | os.PathLike):
        if isinstance(source, Model):
            return here.load(source.wasm, source.digest, section, engine, sha256, bounds)
        wasm = bytes(source)
        return here.load(wasm, digest_of(wasm), section, engine, sha256, bounds)
    with naming(source):
        return here.load_file(Path(source), section, engine, sha256, bounds, clock)


def has_machine_code(source: Path | bytes, section: str) -> bool:
    """Whether loading this module would find its machine code; True also where it cannot be loaded at all."""
    here = _installation(state_folder(), cache_folder(), number("LITTORAL_CODE_CACHE_MB") << 20)
    try:
        wasm = source if isinstance(source, bytes) else _read(source)[0]
        return here.is_cached(digest_of(wasm), section)
    except (OSError, LittoralError):
        return True


@contextlib.contextmanager
def naming(source: object) -> Iterator[None]:
    """Puts the file, where the source is one, before the message of an ArtifactError or TrustError."""
    try:
        yield
    except (ArtifactError, TrustError) as error:
        if not isinstance(source, str | os.PathLike):
            raise
        raise type(error)(f"`{os.fspath(source)}`: {error.message}", hint=error.hint) from error


def code_cache() -> CodeCache:
    """This installation's machine-code cache."""
    return _installation(state_folder(), cache_folder(), number("LITTORAL_CODE_CACHE_MB") << 20).code


@functools.lru_cache(maxsize=8)
def _installation(state: Path, cache: Path, limit_bytes: int) -> "_Installation":
    store = Store(state)
    return _Installation(
        store,
        CodeCache(cache / "machine-code", store, limit_bytes=limit_bytes),
        VerifiedDigests(cache / "verified", store),
    )


class _Installation(NamedTuple):
    store: Store
    code: CodeCache
    verified: VerifiedDigests

    def load_file(
        self,
        path: Path,
        section: str,
        engine: EngineKind | None,
        sha256: str | None,
        bounds: CompileBounds | None,
        clock: Clock,
    ) -> LoadedModule:
        try:
            known = self.verified.find(FileIdentity.of(path.stat()))
            if known is not None and (loaded := self._cached(known, section, engine, sha256)) is not None:
                return loaded
            now_ns = int(clock.wall() * 1e9)
            wasm, identity = _read(path)
        except OSError as error:
            raise NotFoundError(f"module `{path}`: {error.strerror}") from error
        except ValueError as error:  # a name with a zero byte
            raise NotFoundError(f"module `{str(path)!r}`: {error}") from error
        digest = digest_of(wasm)
        loaded = self.load(wasm, digest, section, engine, sha256, bounds)
        if identity.is_settled(now_ns):
            self.verified.record(identity, digest)
        return loaded

    def load(
        self,
        wasm: bytes,
        digest: str,
        section: str,
        engine: EngineKind | None,
        sha256: str | None,
        bounds: CompileBounds | None,
    ) -> LoadedModule:
        if (loaded := self._cached(digest, section, engine, sha256)) is not None:
            return loaded
        if (manifest := custom_section(wasm, section)) is None:
            raise ArtifactError(f"WebAssembly module has no section `{section}`", hint=_HINTS.get(section))
        kind = _engine_with_threads(engine or self._engine_for(digest), wasm)
        is_foreign = kind == "guarded" and bounds is not None
        code = compile_foreign(wasm, bounds or STRANGERS) if is_foreign else compile_module(wasm, kind)
        self.code.keep(_key(digest, section, code.kind), code.serialize(), code.interface, manifest)
        return LoadedModule(code, digest, manifest, is_cached=False)

    def is_cached(self, digest: str, section: str) -> bool:
        with self.code.find(_key(digest, section, self._engine_for(digest))) as found:
            return found is not None

    def _cached(self, digest: str, section: str, engine: EngineKind | None, sha256: str | None) -> LoadedModule | None:
        if sha256 is not None and digest != sha256.lower():
            raise TrustError(f"SHA-256 is `{digest}`, expected `{sha256.lower()}`")
        kind = engine or self._engine_for(digest)
        key = _key(digest, section, kind)
        with self.code.find(key) as found:
            if found is None:
                return None
            try:
                suited: EngineKind = kind if found.interface.shared is None else "threaded"
                code = map_machine_code(found.path, suited, found.interface)
            except ArtifactError:  # not for this wasmtime after all: made again
                self.code.discard(key)
                return None
            return LoadedModule(code, digest, found.manifest, is_cached=True)

    def _engine_for(self, digest: str) -> EngineKind:
        return "trusted" if self.store.holds(digest) else "guarded"


def _engine_with_threads(engine: EngineKind, wasm: bytes) -> EngineKind:
    """The engine for a module, by what it imports. Raises TrustError for threads in a module from elsewhere."""
    if not shares_memory(wasm):
        return engine
    if engine == "guarded":
        raise TrustError(
            "made for several threads, which a module from elsewhere does not get: nothing could stop them",
            hint="compile the model here with `littoral build --threads`, or take the module made for one thread",
        )
    return "threaded"


def _key(digest: str, section: str, engine: EngineKind) -> CodeKey:
    """The same key with and without threads: it is the module that decides between those two engines."""
    engine = "trusted" if engine == "threaded" else engine
    return CodeKey(digest, section, configuration(engine), engine_version(), cpu_features())


def _read(path: Path) -> tuple[bytes, FileIdentity]:
    with open(path, "rb", opener=_open_without_waiting) as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise ArtifactError("no ordinary file")
        if status.st_size > FILE_BYTES_MAX:
            raise TooLargeError(f"module `{path}`: {status.st_size} bytes, at most {FILE_BYTES_MAX}")
        return file.read(FILE_BYTES_MAX), FileIdentity.of(status)


def _open_without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)  # a pipe without a writer would block
