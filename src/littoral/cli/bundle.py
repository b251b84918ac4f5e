"""`littoral bundle`: a pipeline as files that run without Littoral."""

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from littoral.artifact import digest
from littoral.bundle.archive import SUFFIXES, packed
from littoral.bundle.plan import Options, Plan
from littoral.bundle.recipe import read_recipe
from littoral.bundle.targets import TARGETS
from littoral.bundle.verifying import verified
from littoral.bundle.writing import MANIFEST, differences, manifest, write
from littoral.cli.console import bytes_text, results, show_json
from littoral.errors import InputError, NotFoundError
from littoral.node.site import read_site

__all__ = ["bundle", "make", "verify"]

STARTS = ("lazy", "eager")
MAKE = ""  # what makes a bundle has no word of its own
VERIFY = "verify"


class Bundles(TyperGroup):
    """`littoral bundle SITE …`, and `littoral bundle verify PATH`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        return super().parse_args(ctx, args if args[:1] == [VERIFY] else [MAKE, *args])

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.commands = {MAKE if name == "make" else name: command for name, command in self.commands.items()}


bundle = typer.Typer(name="bundle", cls=Bundles, add_completion=False, rich_markup_mode=None)


@bundle.callback()
def options() -> None:
    """Take a pipeline out of the node."""


@bundle.command()
def make(
    site: Annotated[Path, typer.Argument(help="Site file.")],
    pipeline: Annotated[str, typer.Option(help="Pipeline of the file.")],
    target: Annotated[str, typer.Option("--for", help=f"Where it is to run: {', '.join(TARGETS)}.")],
    out: Annotated[Path | None, typer.Option(help="Folder to write; default: dist/PIPELINE-TARGET.")] = None,
    archive: Annotated[
        Path | None, typer.Option(help=f"Also one file with all of it: {' or '.join(SUFFIXES)}.")
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; fail where the folder is there and differs.")
    ] = False,
    start: Annotated[str, typer.Option(help="lazy: guests start with the first request; eager: before it.")] = "lazy",
    side_max: Annotated[
        int | None,
        typer.Option(min=1, max=8192, help="Most pixels on a side of a picture; default: 1024 (browser 8192)."),
    ] = None,
    size_mb: Annotated[float | None, typer.Option(help="Most megabytes when packed; default: the platform's.")] = None,
    sample: Annotated[
        Path | None,
        typer.Option(help="Known input to be held against; needed where an agent takes bytes of its own."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Report as JSON.")] = False,
) -> None:
    """Take a pipeline out of the node: a folder that runs it in a worker, a browser, Node or a small device.

    Exit code 1 where a size is over its limit, or, with --check, where the folder is not what would be written.
    `littoral bundle verify PATH` holds a written one against its manifest.
    """
    if (known := TARGETS.get(target)) is None:
        raise InputError(f"`--for` is `{target}`, must be one of {', '.join(TARGETS)}")
    if start not in STARTS:
        raise InputError(f"`--start` is `{start}`, must be lazy or eager")
    if archive is not None and not archive.name.endswith(SUFFIXES):
        raise InputError(f"`--archive` is `{archive}`, must end in {' or '.join(SUFFIXES)}")
    size = None if size_mb is None else int(size_mb * 1e6)
    options = Options(start, side_max, size, None if sample is None else _read(sample))  # type: ignore[arg-type]
    plan = known.plan(read_recipe(read_site(site), pipeline), options)
    files = {**plan.files, MANIFEST: manifest(plan, pipeline=pipeline, target=target)}
    folder = out or Path("dist") / f"{pipeline}-{target}"
    stale = differences(files, folder) if check and folder.exists() else []
    is_kept = all(finding.is_kept or not finding.is_bound for finding in plan.findings)
    if not check and is_kept:
        write(files, folder)
        if archive is not None:
            _pack(files, archive)
    report = _report(plan, files) | {"folder": str(folder), "sha256": digest(files[MANIFEST]), "differs": stale}
    if as_json:
        show_json(report)
    else:
        _show(report)
    if stale or not is_kept:
        raise typer.Exit(1)


@bundle.command()
def verify(
    path: Annotated[Path, typer.Argument(help="Folder or archive that `littoral bundle` has written.")],
    sha256: Annotated[str | None, typer.Option(help="What its `bundle.json` must have, in hex.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Report as JSON.")] = False,
) -> None:
    """Hold a bundle against its manifest: each file's digest, no file missing, none besides.

    Exit code 7 where one differs, 4 for what is no bundle.
    """
    found = verified(path, sha256)
    told = {key: getattr(found.manifest, key) for key in ("name", "target", "version")}
    if as_json:
        show_json({**told, "sha256": found.sha256, "files": len(found.manifest.files)})
        return
    results.print(f"{path}: {told['name']} {told['version']} for {told['target']}", markup=False)
    results.print(f"  {len(found.manifest.files)} files as in bundle.json, SHA-256 {found.sha256}", markup=False)


def _pack(files: dict[str, bytes], archive: Path) -> None:
    """In one step: the file of an earlier one stays until this one is there."""
    archive.parent.mkdir(parents=True, exist_ok=True)
    making = archive.with_name(f".{archive.name}.making")
    making.write_bytes(packed(files, with_gzip=archive.name.endswith(".gz")))
    making.replace(archive)


def _read(sample: Path) -> bytes:
    try:
        return sample.read_bytes()
    except OSError as error:
        raise NotFoundError(f"`--sample`: `{sample}`: {error.strerror}") from error


def _report(plan: Plan, files: dict[str, bytes]) -> dict[str, Any]:
    """A written contract."""
    return {
        **plan.facts,
        "files": {name: len(data) for name, data in files.items()},
        "findings": [
            {"what": f.what, "value": f.value, "most": f.most, "unit": f.unit, "kept": f.is_kept, "bound": f.is_bound}
            for f in plan.findings
        ],
    }


def _show(report: dict[str, Any]) -> None:
    results.print(f"{report['folder']}  SHA-256 of {MANIFEST}: {report['sha256']}", markup=False)
    for name, size in report["files"].items():
        results.print(f"  {bytes_text(size):>10}  {name}", markup=False)
    for found in report["findings"]:
        value, most = (bytes_text(found[key]) if found["unit"] == "bytes" else found[key] for key in ("value", "most"))
        verdict = "ok" if found["kept"] else "OVER" if found["bound"] else "over"
        results.print(f"  {found['what']}: {value} of {most}  {verdict}", markup=False)
    for name in report["differs"]:
        results.print(f"  differs: {name}", markup=False)
