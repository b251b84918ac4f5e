"""Artifacts of a fleet: brought, signed, withdrawn."""

import base64
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from littoral.cli.console import messages, results, show_json
from littoral.cli.fleet_client import JsonOption, UrlOption, asked, path_of, show, show_rows
from littoral.errors import InputError

__all__ = ["artifacts", "publish", "sign", "told_state", "withdraw"]

BINARY = "application/octet-stream"

TargetArgument = Annotated[str, typer.Argument(help="Such as `models/embedder/3.wasm`.")]


def artifacts(
    kind: Annotated[str | None, typer.Option(help="models, agents, sites, dashboards or selftests.")] = None,
    url: UrlOption = None,
    as_json: JsonOption = False,
) -> None:
    """List artifacts: state, bytes, who has signed."""
    query = f"?kind={kind}" if kind else ""
    found = asked(url).call("GET", f"{path_of('artifacts')}{query}")
    show_rows(found, as_json, ("target", "state", "length", "signatures", "wanted", "by"))


def publish(
    file: Annotated[Path, typer.Argument(help="A compiled model or agent, a site file, a dashboard, self-tests.")],
    name: Annotated[str, typer.Option(help="In the registry.")],
    kind: Annotated[str, typer.Option(help="models, agents, sites, dashboards or selftests.")] = "models",
    version: Annotated[int | None, typer.Option(min=1, help="Default: the next.")] = None,
    url: UrlOption = None,
    as_json: JsonOption = False,
) -> None:
    """Register a file as the next version; it counts once it is signed."""
    try:
        data = file.read_bytes()
    except OSError as error:
        raise InputError(f"`{file}`: {error.strerror}") from error
    query = f"kind={kind}&name={name}" + ("" if version is None else f"&version={version}")
    found = asked(url).call("POST", f"{path_of('artifacts')}?{query}", data, media_type=BINARY)
    show(found, as_json, told_state(found))


def told_state(artifact: Mapping[str, Any]) -> str:
    """Whether it counts, and who is still to sign."""
    is_out = artifact["state"] == "published"
    waits = "" if is_out else f", {len(artifact['signatures'])} of {artifact['wanted']} signatures"
    return f"{artifact['target']} is {artifact['state']}{waits}"


def withdraw(target: TargetArgument, url: UrlOption = None, as_json: JsonOption = False) -> None:
    """Let no node install an artifact any more; who runs it runs on."""
    kind, _, rest = target.partition("/")
    name, _, file = rest.partition("/")
    found = asked(url).call("DELETE", path_of("artifacts", kind, name, file.partition(".")[0]))
    show(found, as_json, f"{target} is {found['state']}")


def sign(
    key: Annotated[str, typer.Option(help="Key file, or a URI of a signer such as `hsm:…`.")],
    public: Annotated[Path | None, typer.Option(help="Public half, for a URI.")] = None,
    role: Annotated[str, typer.Option(help="targets, root or director-root.")] = "targets",
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    url: UrlOption = None,
    as_json: JsonOption = False,
) -> None:
    """Sign what waits for the keys of people, after showing what it changes."""
    from littoral.updates.metadata.keys import open_signer
    from littoral.updates.metadata.signatures import signature_of

    client = asked(url)
    waiting = client.call("GET", path_of("signing"))
    pending = next((one for one in waiting["pending"] if one["role"] == role), None)
    if pending is None:
        raise InputError(f"nothing of role `{role}` waits for signatures")
    for target, sha256 in waiting["changes"].items() if role == "targets" else ():
        messages.print(f"{target}: {sha256 or 'withdrawn'}", markup=False)
    if not yes and not typer.confirm(f"Sign version {pending['version']} of {role}?", err=True):
        raise typer.Exit(1)
    signer = open_signer(key, public=public, ask=lambda what: typer.prompt(what, hide_input=True, err=True))
    keyid, sig = signature_of(base64.b64decode(pending["draft"]), signer)
    body = json.dumps({"keyid": keyid, "sig": sig}).encode()
    found = client.call("POST", path_of("signing", role, "signatures"), body)
    if as_json:
        show_json(found)
        return
    told = "it counts now" if not found["missing"] else f"{found['missing']} more to come"
    results.print(
        f"{role} v{found['version']}: {len(found['signed_by'])} of {found['wanted']} signatures, {told}", markup=False
    )
