"""Opens a model of the site file, and any version of it: files checked and loaded, instances made and run once."""

import contextlib
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from littoral.artifact.manifest import Variant
from littoral.clock import Clock
from littoral.errors import LittoralError, SandboxError, SettingError
from littoral.node.model_files import Policy, find_versions, refuse_onnx
from littoral.node.node import Instances, ModelFile, ServedModel, ServedVersion
from littoral.node.pooling import Pooling
from littoral.node.sequences import Sequences
from littoral.node.site_tables import ModelTable
from littoral.runtime.file_identity import FileIdentity
from littoral.runtime.guest_threads import GuestThreads
from littoral.runtime.instance import Session, load
from littoral.tensors import DTYPES

__all__ = [
    "Identities",
    "Origin",
    "Source",
    "check_state",
    "close_model",
    "files_seen",
    "open_model",
    "open_version",
    "runs_on_zeros",
    "warm",
]

Source = Path | bytes
"""A file, or its content."""

Identities = Mapping[Path, FileIdentity]

WARM_WAIT_MS = 60_000.0

Say = Callable[[str], object]


def _silent(_line: str) -> None:
    pass


class Origin(NamedTuple):
    """Where a model comes from: its table in the site file, the path there, and the files there when it was opened."""

    table: ModelTable
    path: Path
    seen: Identities


def open_model(
    name: str, table: ModelTable, path: Path, pooling: Pooling, *, clock: Clock, say: Say = _silent
) -> tuple[ServedModel, Origin]:
    """The versions that the site file chooses, not yet warm. Raises SettingError and what `open_version` raises."""
    origin = Origin(table, path, files_seen(path))
    instances = Instances(table.instances.min, table.instances.max)
    files = find_versions(path)
    if table.sha256 is not None and path not in files.values():
        raise SettingError(f"`sha256` pins one file, `{path}` is a folder", hint="name the file, or leave `sha256` out")
    versions: dict[int, ServedVersion] = {}
    try:
        for number in Policy.of(table.versions).choose(files, f"`{path}`"):
            versions[number] = open_version(name, number, files[number], table, pooling, say)
            check_state(table.state, versions[number])
    except BaseException:
        for version in versions.values():
            version.pool.close()
        raise
    sequences = Sequences[ServedVersion](
        name, table.state, count_max=table.sequences.max, idle_s=table.sequences.idle_s, clock=clock
    )
    return ServedModel(name, versions[max(versions)], instances, versions, sequences), origin


def close_model(model: ServedModel) -> None:
    """The versions that are open."""
    for version in model.versions.values():
        version.pool.close()


def check_state(state: Mapping[str, str], version: ServedVersion) -> None:
    """Raises SettingError where an output cannot be fed back into the input that is named for it."""
    session = version.pool.first
    inputs, outputs = ({spec.name: spec for spec in specs} for specs in (session.inputs, session.outputs))
    for taken, given in state.items():
        for name, known, what in ((taken, inputs, "input"), (given, outputs, "output")):
            if name not in known:
                raise SettingError(f"`state`: no {what} `{name}`, {what}s: {', '.join(known)}")
        one, other = inputs[taken], outputs[given]
        is_fit = one.dtype == other.dtype and len(one.shape) == len(other.shape)
        if not is_fit or any(-1 not in (a, b) and a != b for a, b in zip(one.shape, other.shape, strict=True)):
            raise SettingError(f"`state`: output {other} cannot be fed back as input {one}")


def files_seen(path: Path) -> Identities:
    """Which files there are; none where nothing can be read."""
    found = {}
    with contextlib.suppress(LittoralError):
        for file in find_versions(path).values():
            with contextlib.suppress(OSError):
                found[file] = FileIdentity.of(file.stat())
    return found


def open_version(
    name: str, number: int, source: Source, table: ModelTable, pooling: Pooling, say: Say = _silent
) -> ServedVersion:
    """Not yet warm. Raises what `load` and `Pooling.model` raise, such as TrustError for another digest than the
    table's `sha256`."""
    if isinstance(source, Path):
        refuse_onnx(source)
    session = load(source, sha256=table.sha256, signers=pooling.signers)
    size_bytes = source.stat().st_size if isinstance(source, Path) else len(source)
    model = ModelFile(session.manifest, session.digest, size_bytes)
    return ServedVersion(number, model, pooling.model(session, name, table, say))


async def warm(version: ServedVersion, instances: Instances, threads: GuestThreads | None = None) -> None:
    """Runs every variant once on zeros in each instance that is kept: code and weights are in memory then.

    One run at a time, so that at least one guest thread is left to others. threads: others than those of the pool.
    Raises SandboxError for a model that fails.
    """
    leases = [await version.pool.lease(wait_ms=WARM_WAIT_MS) for _ in range(instances.min)]
    try:
        for lease in leases:
            for variant in version.model.manifest.variants:
                await lease.run(partial(_run_on_zeros, variant), threads)
    except SandboxError as error:
        error.message = f"on zeros: {error.message}"
        error.hint = error.hint or "`warm = false` in the site file leaves this run out"
        raise
    finally:
        for lease in leases:
            lease.release()


async def runs_on_zeros(version: ServedVersion) -> bool:
    """Whether `warm` gets through, in one instance."""
    try:
        await warm(version, Instances())
    except SandboxError:
        return False
    return True


def _run_on_zeros(variant: Variant, session: Session) -> None:
    session.run({port.name: np.zeros(port.shape, DTYPES[port.dtype].storage) for port in variant.inputs})
