"""`littoral audit`: what a node's tamper-evident log says, and whether it is whole."""

import base64
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from littoral.cli.console import results, show_json
from littoral.cli.keys import need_extra
from littoral.errors import InputError, NotFoundError, TrustError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from littoral.audit.finding import Wanted
    from littoral.audit.log import LogFolder
    from littoral.audit.note import Verifier
    from littoral.audit.verify import Report

__all__ = ["audit", "prove", "show", "verify"]

FAILED = 1
SHOWN = 20
TIMES = ["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"]
CHECKPOINT_BYTES_MAX = 1 << 16

audit = typer.Typer(name="audit", add_completion=False, no_args_is_help=True, rich_markup_mode=None)

FolderArgument = Annotated[Path, typer.Argument(help="Folder of a log, such as DATA/audit, or a copy of it.")]
KeyOption = Annotated[
    str | None, typer.Option("--key", "-k", help="Whose log it must be: NAME+HASH+KEY, or a file with that.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="As JSON.")]


@audit.callback()
def options() -> None:
    """A node's audit log: verified, shown, proven, from its files alone."""


@audit.command()
def verify(
    folder: FolderArgument,
    key: KeyOption = None,
    witness: Annotated[
        list[str] | None, typer.Option(help="Key of a witness beside those in the folder; several times.")
    ] = None,
    earlier: Annotated[
        list[Path] | None, typer.Option(help="A checkpoint that was seen earlier: the log must go on from it.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Find whatever was changed in a log, and say where. Exit code 7 if anything was."""
    need_extra()
    from littoral.audit.disk import ForeignFolder
    from littoral.audit.verify import verify_log

    report = verify_log(
        ForeignFolder(_there(folder)),
        key=None if key is None else _key(key),
        witnesses=[_key(one) for one in witness or []],
        earlier=[_read(path) for path in earlier or []],
    )
    if as_json:
        show_json(_told(report))
    else:
        _show(report)
    if not report.is_right:
        count = len(report.faults) + report.more_faults
        raise TrustError(f"log `{folder}`: {count} {'fault' if count == 1 else 'faults'}")


@audit.command()
def show(
    folder: FolderArgument,
    first: Annotated[int | None, typer.Option("--from", min=0, help="Its number; default: the last that fit.")] = None,
    count: Annotated[int, typer.Option(min=1, max=1_000_000, help="How many at most.")] = SHOWN,
    did: Annotated[str, typer.Option(help="Only what was done so, such as `delete`.")] = "",
    who: Annotated[str, typer.Option(help="Only what this token did, by its name or NAME#ID.")] = "",
    on: Annotated[str, typer.Option(help="Only on this collection, model or file.")] = "",
    since: Annotated[datetime | None, typer.Option(formats=TIMES, help="Not before, in UTC.")] = None,
    until: Annotated[datetime | None, typer.Option(formats=TIMES, help="Not after, in UTC.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, one object a line.")] = False,
) -> None:
    """Show entries of a log. They are not verified: `littoral audit verify` does that."""
    need_extra()
    from littoral.audit.entries import decode_entry
    from littoral.audit.finding import Wanted, find_entries
    from littoral.audit.log import LogFolder

    log = LogFolder.open(_there(folder))
    wanted = Wanted(did, who, on, _seconds(since), _seconds(until))
    found = find_entries(log, wanted, count=count).entries if first is None else _from(log, wanted, first, count)
    for number, data in found:
        entry = decode_entry(data, number)
        if as_json:
            results.print(f'{{"number":{number},"entry":{data.decode()}}}', markup=False, soft_wrap=True)
            continue
        at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(entry.at_s))
        more = "".join(
            f"  {name}={value}"
            for name, value in (("count", entry.count), ("failed", entry.failed), (entry.of, entry.digest[:16]))
            if value
        )
        results.print(f"{number:>9}  {at}  {entry.did:<10} {entry.who}  {entry.on}{more}", markup=False, soft_wrap=True)


def _from(log: "LogFolder", wanted: "Wanted", first: int, count: int) -> "Iterator[tuple[int, bytes]]":
    """Of the `count` from a number on, those that fit."""
    from littoral.audit.entries import decode_entry

    for number in range(first, min(first + count, log.size)):
        try:
            data = log.entry(number)
        except NotFoundError:
            continue
        if wanted.fits(decode_entry(data, number)):
            yield number, data


def _seconds(moment: datetime | None) -> float | None:
    return None if moment is None else moment.replace(tzinfo=UTC).timestamp()


@audit.command()
def prove(
    folder: FolderArgument,
    number: Annotated[int, typer.Argument(min=0, help="Of the entry, from 0.")],
    as_json: JsonOption = False,
) -> None:
    """Prove that an entry is in a log: the entry, the hashes from it to the root, and the signed checkpoint."""
    need_extra()
    from littoral.audit.log import LogFolder

    found = LogFolder.open(_there(folder)).inclusion(number)
    proof = [base64.b64encode(one).decode() for one in found.proof]
    if as_json:
        show_json({"number": number, "entry": found.entry.decode(), "proof": proof, "checkpoint": found.note})
        return
    results.print(found.entry.decode(), markup=False, soft_wrap=True)
    for line in proof:
        results.print(line, markup=False)
    results.print(f"\n{found.note}", markup=False, end="", soft_wrap=True)


def _there(folder: Path) -> Path:
    if not folder.is_dir():
        raise NotFoundError(
            f"folder `{folder}`: is none", hint="a node with a table `[audit]` keeps its log in DATA/audit"
        )
    return folder


def _key(text: str) -> "Verifier":
    from littoral.audit.note import Verifier

    return Verifier.parse(text if "+" in text else _read(Path(text)).decode(errors="replace"))


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            data = stream.read(CHECKPOINT_BYTES_MAX + 1)
    except OSError as error:
        raise NotFoundError(f"`{path}`: {error.strerror}") from error
    if len(data) > CHECKPOINT_BYTES_MAX:
        raise InputError(f"`{path}`: over {CHECKPOINT_BYTES_MAX} bytes")
    return data


def _told(report: "Report") -> dict[str, Any]:
    return {
        "ok": report.is_right,
        "size": report.size,
        "root": report.root,
        "key": report.key,
        "key_is_of_the_folder": report.is_own_key,
        "checked": report.checked,
        "pruned": report.pruned,
        "unsigned_files": report.unsigned,
        "witnesses": [one._asdict() for one in report.witnesses],
        "faults": [one._asdict() for one in report.faults],
        "more_faults": report.more_faults,
    }


def _show(report: "Report") -> None:
    for fault in report.faults:
        results.print(f"WRONG  {fault.where}: {fault.what}", markup=False, soft_wrap=True)
    if report.more_faults:
        results.print(f"       and {report.more_faults} more", markup=False)
    results.print(f"entries    {report.size}, {report.checked} read, {report.pruned} pruned", markup=False)
    results.print(f"root       {report.root or 'unknown'}", markup=False)
    whose = "from the folder itself: compare it with what the node's owner tells, or give --key"
    results.print(f"key        {report.key or 'unknown'}{f'  ({whose})' if report.is_own_key else ''}", markup=False)
    for one in report.witnesses:
        at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(one.at_s))
        results.print(f"witnessed  {one.size} entries by {one.name} at {at}", markup=False, soft_wrap=True)
    if report.unsigned:
        results.print(f"beyond     {report.unsigned} files of a batch that no checkpoint speaks of", markup=False)
