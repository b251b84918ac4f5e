"""From a file, bytes or a model to machine code: digest, choice of the engine, cache.

A path is the fastest source: a file that was hashed before is only looked up, neither read nor hashed.
"""

import contextlib
import functools
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

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

if TYPE_CHECKING:
    from littoral.artifact.signing import Signers

SIGNATURE_SUFFIX = ".sig"
"""Of the file beside a module that has the signatures which the module itself does not carry."""

SIGNATURE_BYTES_MAX = 1 << 20

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
    signers: "Signers | None" = None,
    clock: Clock = SYSTEM,
) -> LoadedModule:
    """The module in `source`, ready to be instantiated.

    section: the custom section with its manifest. engine: None = trusted if this installation compiled the module, or
    one of the signers signed it, else guarded. sha256: what the file must have, in hex. bounds: for compiling a module
    from elsewhere, None = it is ours. signers: who must have signed it, in its section or in `FILE.sig` beside it; None
    = nobody. Errors name the file.
    Raises NotFoundError, TooLargeError, ArtifactError, TrustError, SetupError.
    """
    here = _installation(state_folder(), cache_folder(), number("LITTORAL_CODE_CACHE_MB") << 20)
    asked = _Asked(section, engine, sha256, bounds, signers)
    if not isinstance(source, str | os.PathLike):
        if isinstance(source, Model):
            return here.load(source.wasm, source.digest, asked)
        wasm = bytes(source)
        return here.load(wasm, digest_of(wasm), asked)
    with naming(source):
        return here.load_file(Path(source), asked, clock)


def has_machine_code(source: Path | bytes, section: str, signers: "Signers | None" = None) -> bool:
    """Whether loading this module would find its machine code; True also where it cannot be loaded at all."""
    here = _installation(state_folder(), cache_folder(), number("LITTORAL_CODE_CACHE_MB") << 20)
    try:
        wasm = source if isinstance(source, bytes) else _read(source)[0]
        return here.is_cached(digest_of(wasm), _Asked(section, None, None, None, signers))
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


class _Asked(NamedTuple):
    """Of one module."""

    section: str
    engine: EngineKind | None
    sha256: str | None
    bounds: CompileBounds | None
    signers: "Signers | None"


class _Installation(NamedTuple):
    store: Store
    code: CodeCache
    verified: VerifiedDigests

    def load_file(self, path: Path, asked: _Asked, clock: Clock) -> LoadedModule:
        try:
            known = self.verified.find(FileIdentity.of(path.stat()))
            if known is not None and (loaded := self._known(known, asked)) is not None:
                return loaded
            now_ns = int(clock.wall() * 1e9)
            wasm, identity = _read(path)
        except OSError as error:
            raise NotFoundError(f"module `{path}`: {error.strerror}") from error
        except ValueError as error:  # a name with a zero byte
            raise NotFoundError(f"module `{str(path)!r}`: {error}") from error
        digest = digest_of(wasm)
        loaded = self.load(wasm, digest, asked, _beside(path))
        if identity.is_settled(now_ns):
            self.verified.record(identity, digest)
        return loaded

    def load(self, wasm: bytes, digest: str, asked: _Asked, detached: bytes | None = None) -> LoadedModule:
        self._check_signed(wasm, digest, asked, detached)
        if (loaded := self._cached(digest, asked)) is not None:
            return loaded
        section, bounds = asked.section, asked.bounds
        if (manifest := custom_section(wasm, section)) is None:
            raise ArtifactError(f"WebAssembly module has no section `{section}`", hint=_HINTS.get(section))
        kind = _engine_with_threads(self._engine_for(digest, asked), wasm)
        is_foreign = kind == "guarded" and bounds is not None
        code = compile_foreign(wasm, bounds or STRANGERS) if is_foreign else compile_module(wasm, kind)
        self.code.keep(_key(digest, section, code.kind), code.serialize(), code.interface, manifest)
        return LoadedModule(code, digest, manifest, is_cached=False)

    def is_cached(self, digest: str, asked: _Asked) -> bool:
        with self.code.find(_key(digest, asked.section, self._engine_for(digest, asked))) as found:
            return found is not None

    def _known(self, digest: str, asked: _Asked) -> LoadedModule | None:
        """Without the module's bytes; None where these are needed."""
        return self._cached(digest, asked) if self._is_known_as_signed(digest, asked) else None

    def _is_known_as_signed(self, digest: str, asked: _Asked) -> bool:
        """Without the module's bytes: whether enough of those who must have signed it were found before."""
        signers = asked.signers
        if signers is None or (signers.accepts_own and self.store.holds(digest)):
            return True
        return sum(self.store.is_signed(digest, key.data) for key in signers.keys) >= signers.threshold

    def _check_signed(self, wasm: bytes, digest: str, asked: _Asked, detached: bytes | None) -> None:
        """Raises TrustError."""
        if asked.signers is not None and not self._is_known_as_signed(digest, asked):
            for key in asked.signers.check(wasm, detached):
                self.store.record_signed(digest, key.data)

    def _cached(self, digest: str, asked: _Asked) -> LoadedModule | None:
        if asked.sha256 is not None and digest != asked.sha256.lower():
            raise TrustError(f"SHA-256 is `{digest}`, expected `{asked.sha256.lower()}`")
        kind = self._engine_for(digest, asked)
        key = _key(digest, asked.section, kind)
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

    def _engine_for(self, digest: str, asked: _Asked) -> EngineKind:
        """Whoever must sign may also be trusted with the engine that nothing stops."""
        if asked.engine is not None:
            return asked.engine
        return "trusted" if asked.signers is not None or self.store.holds(digest) else "guarded"


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


def _beside(path: Path) -> bytes | None:
    """Signatures in the file that belongs to this one."""
    try:
        with open(f"{path}{SIGNATURE_SUFFIX}", "rb", opener=_open_without_waiting) as file:
            return file.read(SIGNATURE_BYTES_MAX)
    except OSError:
        return None


def _read(path: Path) -> tuple[bytes, FileIdentity]:
    with open(path, "rb", opener=_open_without_waiting) as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise ArtifactError("no ordinary file")
        if status.st_size > FILE_BYTES_MAX:
            raise TooLargeError(f"module `{path}`: {status.st_size} bytes, at most {FILE_BYTES_MAX}")
        return file.read(status.st_size + 1), FileIdentity.of(status)  # what is asked for is allocated at once


def _open_without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)  # a pipe without a writer would block
