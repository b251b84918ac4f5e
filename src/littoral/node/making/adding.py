"""Models that the site file did not name: put into it, or taken out of it, by the way every change of it takes.

The verb `littoral config apply` does it, in a process of its own: it checks the text with all that it names, the
supervisor tries it with the node, and the file is written when the node serves with it (ADR 0053).
"""

import asyncio
import contextlib
import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import msgspec

from littoral import settings
from littoral.artifact.model import write_atomically
from littoral.artifact.sections import digest
from littoral.errors import ConflictError, NotFoundError, NotOfferedError, SettingError, UnavailableError
from littoral.node.config.changes import Needs, changes, is_hot
from littoral.node.config.texts import PREVIOUS, SiteTexts, read_text
from littoral.node.making.site_text import with_model, with_version, without_model
from littoral.node.making.taking import Taken
from littoral.node.node import Node
from littoral.node.site import Site, parse_site
from littoral.vectors.layout import sync_folder

__all__ = ["Changed", "add_model", "is_added", "put_back", "remove_model", "replace_model"]

FOLDER = "models"
FORMER = ".former"
"""Beside the files: which one of a model served before."""

APPLY_S = 60
END_S = 120.0
MESSAGE_CHARACTERS_MAX = 2000
INSTALLATION = ("LITTORAL_STATE", "LITTORAL_CACHE", "LITTORAL_CODE_CACHE_MB")


class Changed(NamedTuple):
    """model: added or removed. sha256: of its file, which the site file names and pins; '' where it is gone."""

    model: str
    sha256: str = ""


class _How(msgspec.Struct):
    """What the verb says. how: `hot`, `written`, …"""

    how: str


async def add_model(node: Node, name: str, module: Path) -> Changed:
    """The module gets a place in the data folder, and a table in the site file. Raises ConflictError for a name that is
    taken and what a node does not take, UnavailableError where the site file cannot be written: all is as it was then.
    """
    site = _site(node)
    if name in site.models:
        raise ConflictError(f"model `{name}` is there already", hint="load it as its next version, or choose a name")
    text = await asyncio.to_thread(_text, site)
    sha256 = await asyncio.to_thread(_digest, module)
    file = _file(name, sha256)
    await asyncio.to_thread(_put, module, site.data / FOLDER / file)
    try:
        await _apply(site, with_model(text, name, _path(site, file), sha256))
    finally:
        await asyncio.to_thread(_clean, site)
    return Changed(name, sha256)


def is_added(node: Node, name: str) -> bool:
    """Whether its file lies where `add_model` puts one, and the site file pins its digest."""
    site = node.site
    if site is None or (table := site.models.get(name)) is None or table.sha256 is None:
        return False
    return site.path_of(table.path).parent == site.data / FOLDER


async def replace_model(node: Node, name: str, module: Path) -> Taken:
    """The next version of a model that was added: the site file names its file and digest from now on, and what served
    before stays for `put_back`. Raises as `add_model`."""
    site = _site(node)
    text = await asyncio.to_thread(_text, site)
    sha256 = await asyncio.to_thread(_digest, module)
    file = _file(name, sha256)
    if sha256 == site.models[name].sha256:
        raise ConflictError(f"model `{name}`: these bytes serve already")
    await asyncio.to_thread(_put, module, site.data / FOLDER / file)
    return await _serve(node, site, with_version(text, name, _path(site, file), sha256), name)


async def put_back(node: Node, name: str) -> Taken:
    """The version before serves, and the site file names it. Raises ConflictError if there is none, and as
    `add_model`."""
    site = _site(node)
    former = await asyncio.to_thread(_former, site, name)
    if former is None:
        raise ConflictError(f"model `{name}`: no version served before this one")
    text = await asyncio.to_thread(_text, site)
    sha256 = await asyncio.to_thread(_digest, former)
    return await _serve(node, site, with_version(text, name, _path(site, former.name), sha256), name)


async def _serve(node: Node, site: Site, text: bytes, name: str) -> Taken:
    """The model as this text has it; what served stays beside it for the way back."""
    served = site.path_of(site.models[name].path).name
    try:
        await _apply(site, text)
        await asyncio.to_thread(write_atomically, site.data / FOLDER / f"{name}{FORMER}", served.encode())
    except OSError as error:
        raise UnavailableError(f"model `{name}`: {error.strerror}: there is no way back from it") from error
    finally:
        await asyncio.to_thread(_clean, site)
    if node.audit is not None:
        node.audit.act("model", name, digest=parse_site(text, site.file).models[name].sha256, of="file")
    return Taken(name, node.models[name].serving.number)


def _former(site: Site, name: str) -> Path | None:
    """The file of this model that served before."""
    folder = site.data / FOLDER
    with contextlib.suppress(OSError):
        path = folder / Path((folder / f"{name}{FORMER}").read_text()).name
        return path if path.is_file() else None
    return None


def _digest(file: Path) -> str:
    return digest(file.read_bytes())


def _file(name: str, sha256: str) -> str:
    return f"{name}-{sha256[:12]}.wasm"


def _path(site: Site, file: str) -> str:
    """As it stands in the site file."""
    return f"{site.node.data.rstrip('/')}/{FOLDER}/{file}"


async def remove_model(node: Node, name: str) -> Changed:
    """Its table leaves the site file. Raises as `add_model`, NotFoundError, and ConflictError for one that is used."""
    site = _site(node)
    if name not in site.models:
        raise NotFoundError(f"model `{name[:80]}` is unknown")
    text = await asyncio.to_thread(_text, site)
    await _apply(site, without_model(text, name))
    await asyncio.to_thread((site.data / FOLDER / f"{name}{FORMER}").unlink, missing_ok=True)
    await asyncio.to_thread(_clean, site)
    return Changed(name)


def _site(node: Node) -> Site:
    if node.site is None:
        raise NotOfferedError("this node has no site file")
    return node.site


def _text(site: Site) -> bytes:
    """What the file says, where it is what the node runs."""
    text = read_text(site.file)
    if SiteTexts(site.file).served() != text:
        raise ConflictError(
            f"`{site.file}` is not what this node serves with",
            hint="`littoral config diff SITE` tells what differs, `littoral config apply` takes it",
        )
    folder = site.file.resolve().parent
    if not (os.access(folder, os.W_OK) and os.access(site.file, os.W_OK)):
        raise UnavailableError(
            f"`{site.file}` cannot be written by this node",
            hint="give its user the folder (`ReadWritePaths=` of a unit), or use `littoral config apply`",
        )
    return text


async def _apply(site: Site, text: bytes) -> None:
    try:
        found = changes(site, parse_site(text, site.file))
    except SettingError as error:
        raise ConflictError(error.message, hint=error.hint) from error
    if not is_hot(found):
        keys = ", ".join(f"`{change.key}`" for change in found if change.needs is not Needs.HOT)
        raise ConflictError(
            f"this needs a restart of the node: {keys}",
            hint="take it out by hand: `littoral config apply`",
        )
    new = SiteTexts(site.file).folder / ".asked.toml"
    await asyncio.to_thread(new.write_bytes, text)
    try:
        how = await _verb("config", "apply", str(site.file), str(new), "--deadline", str(APPLY_S), "--json")
    finally:
        await asyncio.to_thread(new.unlink, missing_ok=True)
    if how == "written":
        raise UnavailableError(
            "no supervisor runs this node: the site file says it, and it counts at the next start", hint="`littoral up`"
        )


async def _verb(*arguments: str) -> str:
    """How the node took it. Raises ConflictError with what the verb says."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-P", "-m", "littoral", *arguments),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=_environment(),
    )
    try:
        async with asyncio.timeout(APPLY_S + END_S):
            out, err = await process.communicate()
    except TimeoutError as error:
        raise UnavailableError("`littoral config apply` does not end") from error
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    if process.returncode:
        message, _, hint = err.decode(errors="replace").strip()[-MESSAGE_CHARACTERS_MAX:].partition("\nhint: ")
        raise ConflictError(f"the node goes on as it was: {message.removeprefix('littoral: ')}", hint=hint or None)
    return msgspec.json.decode(out, type=_How).how


def _environment() -> Mapping[str, str]:
    return settings.environment(**{name: settings.text(name) for name in INSTALLATION})


def _put(module: Path, target: Path) -> None:
    """Whole or not at all, also when the power fails."""
    fresh = target.with_name(f".{target.name}.new")
    try:
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with module.open("rb") as data, fresh.open("wb") as file:
            shutil.copyfileobj(data, file)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(target)
        sync_folder(target.parent)
    except OSError as error:
        fresh.unlink(missing_ok=True)
        raise UnavailableError(f"`{target}`: {error.strerror}", hint="is the disk full? `df` tells") from error


def _clean(site: Site) -> None:
    """Files that are named neither by the site file, nor by what it said before, nor as a way back."""
    before = site.file.resolve().with_name(site.file.resolve().name + PREVIOUS)
    with contextlib.suppress(OSError):
        texts = [read_text(site.file), before.read_bytes() if before.exists() else b""]
        texts += [file.read_bytes() for file in (site.data / FOLDER).glob(f"*{FORMER}")]
        for file in (site.data / FOLDER).glob("*.wasm"):
            if not any(file.name.encode() in text for text in texts):
                file.unlink()
