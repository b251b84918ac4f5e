"""`littoral sign`: signatures into a module, or into a file beside it."""

from pathlib import Path
from typing import Annotated

import typer

from littoral.artifact.model import read_bounded, write_atomically
from littoral.artifact.sections import digest, without_custom_section
from littoral.cli.console import results, show_json
from littoral.cli.keys import need_extra, secret_keys
from littoral.errors import NotFoundError

__all__ = ["sign"]


def sign(
    module: Annotated[Path, typer.Argument(help="A compiled model or an agent.")],
    key: Annotated[list[Path], typer.Option("--key", "-k", help="A secret key; several times: all sign.")],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="File to write; default: the module.")] = None,
    detached: Annotated[bool, typer.Option("--detached", help="Into MODULE.sig, the module stays as it is.")] = False,
    replace: Annotated[bool, typer.Option("--replace", help="Drop the signatures that it carries.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Report as JSON.")] = False,
) -> None:
    """Sign all of a WebAssembly module with Ed25519, beside the signatures that it has."""
    need_extra()
    from littoral.artifact.signatures import SIGNATURE_SECTION
    from littoral.artifact.signing import signature_for, signed

    wasm, secrets = read_bounded(module, "module"), secret_keys(key)
    if detached:
        target = output or module.with_name(f"{module.name}.sig")
        there = read_bounded(target, "signature") if target.exists() and not replace else None
        made = signature_for(wasm, secrets, there)
    else:
        target = output or module
        made = signed(without_custom_section(wasm, SIGNATURE_SECTION) if replace else wasm, secrets)
    try:
        write_atomically(target, made)
    except OSError as error:
        raise NotFoundError(f"`{target}`: {error.strerror}") from error
    by = [one.public.key_id.hex() for one in secrets]
    if as_json:
        show_json({"file": str(target), "sha256": digest(made), "signed_by": by})
        return
    results.print(f"{target}  signed by {', '.join(by)}", markup=False)
    if not detached:
        results.print(f"  sha256  {digest(made)}", markup=False)
