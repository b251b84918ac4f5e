"""`littoral pack`: a node as one folder or one file, for a machine without a network."""

from pathlib import Path
from typing import Annotated

import typer

from littoral.cli.console import bytes_text, messages, results, show_json

__all__ = ["pack_verb"]


def pack_verb(
    site: Annotated[Path, typer.Argument(help="Site file; what it names lies below its folder.")],
    to: Annotated[
        Path | None, typer.Option("--to", help="Folder to make, or a file whose name ends in .run; default: NODE.run.")
    ] = None,
    with_tokens: Annotated[bool, typer.Option("--with-tokens", help="With the digests of the node's tokens.")] = False,
    with_keys: Annotated[
        bool, typer.Option("--with-keys", help="With private keys and passwords; keep the pack as you keep them.")
    ] = False,
    extra: Annotated[
        list[str] | None, typer.Option("--extra", help="An extra that the site file does not show; several times.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Pack a node with its Python packages, to copy and run offline."""
    from littoral.node.pack.contents import Wanted
    from littoral.node.pack.writing import check_free, pack
    from littoral.node.site import read_site
    from littoral.node.wiring import check_site

    described = read_site(site)
    to = to or Path(f"{described.node.name}.run")
    check_free(to)
    check_site(described)
    wanted = Wanted(with_tokens, with_keys)
    done = pack(described, to, wanted=wanted, extras=list(extra or ()), is_file=to.suffix == ".run")
    manifest, size = done.manifest, sum(file.size for file in done.manifest.files)
    python, glibc = (".".join(map(str, version)) for version in (manifest.python, manifest.glibc))
    if as_json:
        show_json(
            {
                "path": str(done.path),
                "sha256": done.sha256,
                "node": manifest.node,
                "python": python,
                "machine": manifest.machine,
                "glibc": glibc,
                "files": len(manifest.files),
                "bytes": size,
                "packages": manifest.packages,
                "left_out": [one._asdict() for one in manifest.left_out],
            }
        )
        return
    start = done.path if to.suffix == ".run" else done.path / "littoral"
    results.print(f"{done.path}: {len(manifest.files)} files, {bytes_text(size)} unpacked", markup=False)
    results.print(f"  needs Python {python} on {manifest.machine}, glibc {glibc} or newer", markup=False)
    results.print(f"  manifest {done.sha256}", markup=False)
    results.print(f"  start it there: {start if start.is_absolute() else f'./{start}'}", markup=False)
    for one in manifest.left_out:
        messages.print(f"left out: {one.what}: {one.why}", markup=False, soft_wrap=True)
