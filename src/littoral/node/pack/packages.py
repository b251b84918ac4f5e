"""The Python packages of a pack: what Littoral needs, as it is installed here, each file as its wheel brought it."""

import base64
import hashlib
import importlib.metadata as metadata
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import littoral
from littoral.errors import SetupError, TrustError
from littoral.node.site import Site

__all__ = ["Fit", "Package", "PackageFile", "extras_of", "fit_of", "packages"]

PROJECT = "littoral"
_REQUIREMENT = re.compile(r"(?P<name>[A-Za-z0-9._-]+)(?:\[(?P<extras>[^\]]*)\])?[^;]*(?:;(?P<marker>.*))?")
_EXTRA = re.compile(r"""extra\s*==\s*["'](?P<name>[^"']+)["']""")
_GLIBC = re.compile(r"manylinux_(\d+)_(\d+)_")
GLIBC_OF = {"manylinux1": (2, 5), "manylinux2010": (2, 12), "manylinux2014": (2, 17)}
GLIBC_LEAST = (2, 17)
LEFT_OUT = ("__pycache__", "INSTALLER", "REQUESTED", "direct_url.json", "RECORD", "uv_cache.json", "uv_build.json")
"""Of no use elsewhere, or of this installation."""


class PackageFile(NamedTuple):
    """name: below the folder of packages."""

    name: str
    path: Path


class Package(NamedTuple):
    """A distribution that is installed here."""

    name: str
    version: str
    files: list[PackageFile]
    tags: list[str]


class Fit(NamedTuple):
    """glibc: the oldest that every package runs with."""

    glibc: tuple[int, int]


def extras_of(site: Site) -> list[str]:
    """Extras that a site's tables need, in alphabetical order."""
    wanted = {
        "grpc": site.node.grpc is not None,
        "mesh": site.mesh is not None,
        "mqtt": site.mqtt is not None,
        "otel": site.telemetry.traces.endpoint is not None,
        "sign": site.signatures is not None or site.audit is not None,
        "vault": site.encryption is not None or (site.mesh is not None and site.mesh.encryption is not None),
    }
    return [name for name, is_wanted in wanted.items() if is_wanted]


def packages(extras: Iterable[str]) -> list[Package]:
    """Littoral and all that it needs with these extras, in alphabetical order.

    Raises SetupError for one that is not installed, TrustError for a file that is not as its wheel brought it.
    """
    found: dict[str, Package] = {}
    waiting = [(PROJECT, frozenset(extras))]
    while waiting:
        name, wanted = waiting.pop()
        distribution = _distribution(name)
        found.setdefault(_normal(name), _package(distribution))
        for requirement in distribution.requires or ():
            needed, inner, is_sure = _read(requirement, wanted)
            if needed and _normal(needed) not in found and (is_sure or _is_installed(needed)):
                waiting.append((needed, inner))
    return [found[name] for name in sorted(found)]


def fit_of(chosen: Iterable[Package]) -> Fit:
    """What these packages need of a machine, by the tags of their wheels."""
    return Fit(max((_glibc(package.tags) for package in chosen), default=GLIBC_LEAST))


def _read(requirement: str, extras: frozenset[str]) -> tuple[str, frozenset[str], bool]:
    """Name, extras of its own, and whether it is needed in any case; no name where an extra that nobody asked for
    needs it. What depends on the machine is needed if it is there: here it was decided when it was installed."""
    match = _REQUIREMENT.fullmatch(requirement.strip())
    assert match is not None, requirement
    marker = match["marker"] or ""
    of_extras = [found["name"] for found in _EXTRA.finditer(marker)]
    if of_extras and not extras.intersection(of_extras):
        return "", frozenset(), False
    inner = frozenset(part.strip() for part in (match["extras"] or "").split(",") if part.strip())
    left = _EXTRA.sub("", marker).replace("and", "").strip(" ()")
    return match["name"], inner, not left


def _distribution(name: str) -> metadata.Distribution:
    try:
        return metadata.distribution(name)
    except metadata.PackageNotFoundError as error:
        raise SetupError(
            f"package `{name}` is not installed, the pack needs it",
            hint="a pack is made of what is installed here: install the extras that the site file needs",
        ) from error


def _is_installed(name: str) -> bool:
    try:
        metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return False
    return True


def _package(distribution: metadata.Distribution) -> Package:
    name = distribution.metadata["Name"]
    files = list(_littoral() if _normal(name) == PROJECT else ())
    files += _checked(distribution, {file.name for file in files})
    tags = [line.partition(": ")[2] for line in (distribution.read_text("WHEEL") or "").splitlines() if "Tag: " in line]
    return Package(_normal(name), distribution.version, sorted(files), tags)


def _littoral() -> Iterator[PackageFile]:
    """From where it is imported: an editable installation has it elsewhere than its metadata."""
    home = Path(littoral.__file__).parent
    for path in sorted(home.rglob("*")):
        if path.is_file() and not _is_left_out(path.relative_to(home).parts):
            yield PackageFile(f"{PROJECT}/{path.relative_to(home).as_posix()}", path)


def _checked(distribution: metadata.Distribution, have: set[str]) -> Iterator[PackageFile]:
    """What its wheel brought, by its record; scripts and what is known already stay out."""
    project = distribution.metadata["Name"]
    if distribution.files is None:
        raise SetupError(f"package `{project}` has no record of its files", hint="install it anew")
    for file in distribution.files:
        name = file.as_posix()
        if name in have or ".." in file.parts or name.endswith((".pth", ".pyc")) or _is_left_out(file.parts):
            continue
        path = Path(str(file.locate()))
        if file.hash is not None and (known_digest := _digest(path, file.hash.mode)) != file.hash.value:
            raise TrustError(
                f"`{path}` is not as its wheel brought it: {file.hash.mode} is `{known_digest}`, "
                f"expected `{file.hash.value}`",
                hint=f"install `{project}` anew",
            )
        yield PackageFile(name, path)


def _digest(path: Path, mode: str) -> str:
    """As a record has it. Raises SetupError."""
    try:
        digest = hashlib.new(mode, path.read_bytes(), usedforsecurity=False).digest()
    except OSError as error:
        raise SetupError(f"`{path}`: {error.strerror}", hint="install the package anew") from error
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def _is_left_out(parts: tuple[str, ...]) -> bool:
    return any(part in LEFT_OUT for part in parts) or parts[-1].endswith(".pyc")


def _glibc(tags: Iterable[str]) -> tuple[int, int]:
    """The oldest that one of the tags allows."""
    platforms = [part for tag in tags for part in tag.rpartition("-")[2].split(".")]
    exact = [(int(match[1]), int(match[2])) for match in map(_GLIBC.match, platforms) if match]
    named = [GLIBC_OF[part.partition("_")[0]] for part in platforms if part.partition("_")[0] in GLIBC_OF]
    return min((*exact, *named), default=GLIBC_LEAST)


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
