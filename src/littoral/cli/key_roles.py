"""`littoral keys roles`, `rotate`, `threshold` …: which keys may sign what of a fleet's updates."""

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from littoral.artifact.model import write_atomically
from littoral.cli.console import results, show_json
from littoral.errors import ConflictError, InputError, NotFoundError, SetupError

if TYPE_CHECKING:
    from littoral.updates.metadata.director import Director
    from littoral.updates.metadata.image import ImageRepository
    from littoral.updates.metadata.roles import Pending
    from littoral.updates.metadata.root import RootChain
    from littoral.updates.metadata.store import MetadataStore

__all__ = ["COMMANDS"]

IMAGE, DIRECTOR = "image", "director"
SHOWN = 16
FILES_BYTES_MAX = 8 << 20

JsonOption = Annotated[bool, typer.Option("--json", help="Report as JSON.")]
StoreArgument = Annotated[
    Path, typer.Argument(help="The orchestrator's file, or a folder of metadata, with `image` in it.")
]
RepositoryArgument = Annotated[str, typer.Argument(help="`image` or `director`.")]
OnlineOption = Annotated[
    Path | None,
    typer.Option("--online", help="Folder of the online keys, if not the orchestrator's file's."),
]


def roles(store: StoreArgument, as_json: JsonOption = False) -> None:
    """Tell which keys may sign which role, how many must, until when, and what waits for signatures."""
    image, director = _repositories(store)
    told = [*_rows(IMAGE, image.root), *_rows(DIRECTOR, director.root)]
    waiting = [*((IMAGE, one) for one in image.pending), *((DIRECTOR, one) for one in [director.root.pending] if one)]
    if as_json:
        show_json({"roles": told, "pending": [{"repository": name, **one._asdict()} for name, one in waiting]})
        return
    for row in told:
        ids = ", ".join(key_id[:SHOWN] for key_id in row["keys"])
        results.print(f"{row['repository']} {row['role']}  {row['threshold']} of {ids}", markup=False)
    for name, one in waiting:
        _tell(name, one)


def rotate(
    store: StoreArgument,
    repository: RepositoryArgument,
    role: Annotated[str, typer.Argument(help="`root`, `targets`, `snapshot` or `timestamp`; `uploads` of `image`.")],
    add: Annotated[list[Path] | None, typer.Option("--add", help="Public key that may sign from then on.")] = None,
    remove: Annotated[list[str] | None, typer.Option("--remove", help="Key that may no more: file or id.")] = None,
) -> None:
    """Give a role other keys. It waits until those who may sign the root (for `uploads`: the targets) have."""
    from littoral.updates.metadata.image import UPLOADS
    from littoral.updates.metadata.keys import read_public

    image, director = _repositories(store)
    added = [read_public(file) for file in add or []]
    if role == UPLOADS:
        _tell(IMAGE, image.delegate_uploads(added))
        return
    chain = _chain(repository, image, director)
    known = chain.current.roles[role].keyids if role in chain.current.roles else []
    _tell(repository, chain.rotate(role, add=added, remove=[_key_id(one, known) for one in remove or []]))


def threshold(
    store: StoreArgument,
    repository: RepositoryArgument,
    role: Annotated[str, typer.Argument(help="`root`, `targets`, `snapshot` or `timestamp`.")],
    count: Annotated[int, typer.Argument(help="Keys that must sign.")],
) -> None:
    """Change how many keys of a role must sign. It waits for the root's signatures."""
    image, director = _repositories(store)
    _tell(repository, _chain(repository, image, director).set_threshold(role, count))


def renew(
    store: StoreArgument,
    repository: RepositoryArgument,
    role: Annotated[str, typer.Argument(help="`root`, or `targets` of `image`.")],
) -> None:
    """Let people sign the same again, before it expires or with new keys."""
    image, director = _repositories(store)
    if (repository, role) == (IMAGE, "targets"):
        _tell(repository, image.renew())
    elif role == "root":
        _tell(repository, _chain(repository, image, director).renew())
    else:
        raise InputError(f"`{role}` of `{repository}` is signed online, by itself", hint="`root` or `targets`")


def pending(
    store: StoreArgument,
    into: Annotated[Path, typer.Argument(help="Folder for the files, to take to the keys.")],
) -> None:
    """Write what waits for signatures as files: REPOSITORY-ROLE.json."""
    image, director = _repositories(store)
    found = {f"{IMAGE}-{one.role}": image.pending_bytes(one.role) for one in image.pending}
    found |= {f"{DIRECTOR}-root": director.root.pending_bytes}
    into.mkdir(parents=True, exist_ok=True)
    for name, data in found.items():
        if data is not None:
            write_atomically(into / f"{name}.json", data)
            results.print(str(into / f"{name}.json"), markup=False)


def sign(
    file: Annotated[Path, typer.Argument(help="What `littoral keys pending` wrote.")],
    key: Annotated[str, typer.Option("--key", help="Key file, or URI of hardware or a service.")],
    public: Annotated[Path | None, typer.Option("--public", help="Public half, for a URI.")] = None,
) -> None:
    """Add a signature to such a file. Needs neither network nor orchestrator."""
    _need_extra()
    from littoral.updates.metadata.keys import open_signer
    from littoral.updates.metadata.signatures import read_signed, signed_file, targets_named

    data = _read(file)
    found = read_signed(data)
    for line in targets_named(data):
        results.print(line, markup=False)
    signer = open_signer(key, public=public, ask=_ask)
    write_atomically(file, signed_file(data, signer))
    results.print(
        f"{found.repository} {found.role} v{found.version}  signed by {signer.public_key.keyid[:SHOWN]}", markup=False
    )


def public(
    key: Annotated[str, typer.Argument(help="URI of a key on a token: `hsm:KEYID?label=TOKEN`.")],
    into: Annotated[Path, typer.Argument(help="File to write, NAME.pub.")],
) -> None:
    """Write the public half of a key that is on a token, for those who verify and for `rotate --add`."""
    _need_extra()
    from littoral.updates.metadata.keys import public_from

    found = public_from(key, into, _ask)
    results.print(f"{into}  {found.scheme}", markup=False)
    results.print(f"  key id  {found.keyid}", markup=False)


def publish(
    store: StoreArgument,
    files: Annotated[list[Path] | None, typer.Argument(help="Signed files that came back.")] = None,
    online: OnlineOption = None,
) -> None:
    """Take signatures back; what has enough of them counts from now on, with snapshot and timestamp by online keys."""
    from littoral.updates.metadata.signatures import read_signed

    image, director = _repositories(store, online, signs=True)
    for file in files or []:
        found = read_signed(_read(file))
        for signature in found.signatures:
            if found.repository == DIRECTOR:
                told = director.root.attach(signature)
            else:
                told = image.attach(found.role, signature)
        if found.signatures:
            _tell(found.repository, told)
    done = [
        *(f"{IMAGE} {role}" for role in image.publish()),
        *([f"{DIRECTOR} root"] if director.publish_root() else []),
    ]
    if not done:
        raise ConflictError("nothing has its signatures yet", hint="`littoral keys roles` tells what waits for whom")
    results.print(f"published: {', '.join(done)}", markup=False)


def skip(
    store: StoreArgument,
    count: Annotated[int, typer.Argument(help="More than were signed since the backup.")],
    online: OnlineOption = None,
) -> None:
    """Leave versions out, after metadata came back from a backup: nodes have seen later ones."""
    if not 0 < count <= 1_000_000:
        raise InputError(f"{count} versions cannot be left out", hint="1 to 1,000,000")
    image, director = _repositories(store, online, signs=True)
    image.skip(count)
    director.sign_again(skip=count)
    results.print(f"{count} versions left out, {len(director.nodes())} nodes told again", markup=False)


def _repositories(
    store: Path, online: Path | None = None, *, signs: bool = False
) -> "tuple[ImageRepository, Director]":
    """signs: needs the online keys. Raises SetupError, InputError, NotFoundError for another folder."""
    _need_extra()
    from littoral.updates import tree
    from littoral.updates.metadata.director import Director
    from littoral.updates.metadata.image import ImageRepository
    from littoral.updates.metadata.keys import KeyRing

    metadata, keys = _opened(store)
    if signs and (online or keys) is None:
        raise InputError(f"`{store}` does not say where the online keys are", hint="`--online FOLDER`")
    root = tree.image_metadata("1.root.json")
    if metadata.read(root) is None:
        raise NotFoundError(f"`{store}` has no `{root}`", hint="the orchestrator's file, or the folder of its metadata")
    ring = KeyRing(online or keys or store)
    return ImageRepository(metadata, ring), Director(metadata, ring)


def _opened(store: Path) -> "tuple[MetadataStore, Path | None]":
    """The metadata, and where the online keys are: of an orchestrator, wherever its objects are, or in a folder."""
    from littoral.updates.metadata.store import FolderStore

    if not store.is_file():
        return FolderStore(store), None
    from littoral.orchestrator.file import read_file
    from littoral.orchestrator.places import mark_of_objects, open_objects
    from littoral.orchestrator.signing import KEYS, ObjectsMetadata

    file = read_file(store)
    objects = open_objects(file)
    if (mark := mark_of_objects(objects)) is not None:
        raise ConflictError(f"`{store}`: the fleet is moved, or being moved", hint=f"its place: `{mark.other}`")
    return ObjectsMetadata(objects), file.data / KEYS


def _chain(repository: str, image: "ImageRepository", director: "Director") -> "RootChain":
    if repository not in (IMAGE, DIRECTOR):
        raise InputError(f"no repository `{repository}`", hint="`image` or `director`")
    return image.root if repository == IMAGE else director.root


def _rows(name: str, chain: "RootChain") -> list[dict[str, Any]]:
    root = chain.current
    return [
        {
            "repository": name,
            "role": role,
            "keys": list(found.keyids),
            "threshold": found.threshold,
            "root_version": root.version,
            "root_expires": root.expires.isoformat(),
        }
        for role, found in sorted(root.roles.items())
    ]


def _key_id(text: str, known: list[str]) -> str:
    from littoral.updates.metadata.keys import read_public

    if Path(text).is_file():
        return read_public(Path(text)).keyid
    found = [key_id for key_id in known if key_id.startswith(text)]
    if len(found) == 1:
        return found[0]
    raise NotFoundError(f"`{text}` is no key of the role", hint="a file, or the id that `littoral keys roles` shows")


def _tell(repository: str, one: "Pending") -> None:
    results.print(
        f"{repository} {one.role} v{one.version}  {len(one.signed_by)} signed, {one.missing} missing", markup=False
    )
    if one.dropped:
        results.print(f"  {one.dropped} signatures of the draft before count no more", markup=False)


def _read(file: Path) -> bytes:
    try:
        with file.open("rb") as stream:
            return stream.read(FILES_BYTES_MAX)
    except OSError as error:
        raise NotFoundError(f"`{file}`: {error.strerror}") from error


def _ask(secret: str) -> str:
    return str(typer.prompt(secret, hide_input=True, err=True))


def _need_extra() -> None:
    if find_spec("tuf") is None:
        raise SetupError("keys of a fleet need `tuf`", hint='install `pip install "littoral[fleet]"`')


COMMANDS = (pending, public, publish, renew, roles, rotate, sign, skip, threshold)
