"""`littoral verify`: who signed a module."""

from pathlib import Path
from typing import Annotated

import typer

from littoral.artifact.model import read_bounded
from littoral.artifact.sections import digest
from littoral.cli.console import results, show_json
from littoral.cli.keys import need_extra, public_keys

__all__ = ["verify"]


def verify(
    module: Annotated[Path, typer.Argument(help="A compiled model or an agent.")],
    key: Annotated[list[Path], typer.Option("--key", "-k", help="A public key that is trusted; several times.")],
    threshold: Annotated[int, typer.Option(min=1, help="By how many of the keys it must be signed.")] = 1,
    signature: Annotated[
        Path | None, typer.Option(help="File with the signatures; default: MODULE.sig, where the module has none.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Report as JSON.")] = False,
) -> None:
    """Tell who signed all of a module. Exit code 7 where those are too few."""
    need_extra()
    from littoral.artifact.signing import Signers
    from littoral.runtime.modules import naming

    wasm = read_bounded(module, "module")
    beside = signature or module.with_name(f"{module.name}.sig")
    detached = read_bounded(beside, "signature") if signature or beside.exists() else None
    with naming(module):
        found = Signers(tuple(public_keys(key)), threshold).check(wasm, detached)
    by = [one.key_id.hex() for one in found]
    if as_json:
        show_json({"file": str(module), "sha256": digest(wasm), "signed_by": by})
        return
    results.print(f"{module}  signed by {', '.join(by)}", markup=False)
