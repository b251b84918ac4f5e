"""Keys of people on a PKCS#11 token: what it signs together with a key in a file is installed by a real node."""

import asyncio
import json
import os
import re
import shutil
import signal
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest
from typer.testing import CliRunner

from command import Done, command, environment
from fleet_gateway import SITE, asked, times
from littoral import settings
from littoral.cli.app import app
from littoral.errors import LittoralError
from littoral.updates.metadata.keys import new_key, open_signer, read_public
from needs import need
from orchestrated import orchestrated
from raw_http import send_json
from supervised import short_folder
from upped import Up
from waiting import until_async, until_true

pytestmark = pytest.mark.e2e

MODULES = ("/usr/lib/softhsm/libsofthsm2.so", "/usr/lib64/pkcs11/libsofthsm2.so")
PIN = "246810"
URI = "hsm:2?label=reef"
GATES = {"canary_s": 0.5, "watch_s": 1.0, "p99_ratio_max": 1000.0}


class Token(NamedTuple):
    """With an ECDSA key of number 2; another of number 3 beside it. public: of number 2."""

    folder: Path
    module: str
    public: Path

    def variables(self, **more: str) -> dict[str, str]:
        found = {"SOFTHSM2_CONF": str(self.folder / "softhsm2.conf"), "PYKCS11LIB": self.module} | more
        return environment() | {name: value for name, value in found.items() if value}

    def littoral(self, *arguments: object, **more: str) -> Done:
        """The command, beside this token. more: variables; an empty one is not set."""
        done = subprocess.run(
            command(*arguments), capture_output=True, text=True, stdin=subprocess.DEVNULL, env=self.variables(**more)
        )
        return Done(done.returncode, done.stdout, done.stderr)


@pytest.fixture(scope="module")
def token(tmp_path_factory: pytest.TempPathFactory) -> Token:
    module = next((path for path in MODULES if Path(path).exists()), "")
    need(module and shutil.which("softhsm2-util"), "softhsm2 (apt-get install softhsm2)")
    folder = tmp_path_factory.mktemp("token")
    (folder / "tokens").mkdir()
    (folder / "softhsm2.conf").write_text(f"directories.tokendir = {folder}/tokens\nobjectstore.backend = file\n")
    made = Token(folder, module, folder / "reef.pub")
    for line in (
        "--init-token --free --label reef --so-pin 12345678",
        *(f"--import {n}.pem --token reef --label {n} --id 0{n}" for n in (2, 3)),
    ):
        if "--import" in line:
            key = folder / line.split()[1]
            subprocess.run(
                ["openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", key],
                check=True,
                capture_output=True,
            )
        subprocess.run(
            ["softhsm2-util", *line.split(), "--pin", PIN],
            check=True,
            capture_output=True,
            cwd=folder,
            env=made.variables(),
        )
    done = made.littoral("keys", "public", URI, made.public, LITTORAL_PIN=PIN)
    assert done.code == 0, done.err
    return made


@pytest.fixture(scope="module")
def waiting(token: Token) -> Path:
    """A root that waits for signatures, as a file."""
    run("orchestrator", "init", token.folder / "fleet", "--keys-to", token.folder / "people")
    metadata = token.folder / "fleet/data/objects/metadata"
    run("keys", "rotate", metadata, "image", "targets", "--add", token.public)
    run("keys", "pending", metadata, token.folder / "stick")
    return token.folder / "stick/image-root.json"


def run(*words: object) -> None:
    done = CliRunner().invoke(app, [*map(str, words)])
    assert done.exit_code == 0, (words, done.output, done.exception)


def begun(folder: Path, token: Token) -> None:
    """A fleet whose artifacts the token and two of three files may sign; two signatures are wanted."""
    metadata, safe, stick = folder / "data/objects/metadata", folder / "people", folder / "stick"
    run("orchestrator", "init", folder, "--keys-to", safe)
    run("keys", "rotate", metadata, "image", "targets", "--add", token.public, "--remove", safe / "targets-1.pub")
    run("keys", "renew", metadata, "image", "targets")
    run("keys", "pending", metadata, stick)
    for key in ("root-1", "root-3"):
        run("keys", "sign", stick / "image-root.json", "--key", safe / f"{key}.key")
    run("keys", "sign", stick / "image-targets.json", "--key", safe / "targets-2.key")
    (folder / "pin").write_text(f"{PIN}\n")
    by_token = ("keys", "sign", stick / "image-targets.json", "--key", URI, "--public", token.public)
    done = token.littoral(*by_token, LITTORAL_PIN_FILE=str(folder / "pin"))
    assert done.code == 0, done.err
    run(
        "keys",
        "publish",
        metadata,
        "--online",
        folder / "data/keys",
        stick / "image-root.json",
        stick / "image-targets.json",
    )


async def test_a_node_installs_what_a_token_and_a_file_have_signed(token: Token) -> None:
    with short_folder() as folder:
        fleet = folder / "fleet"
        begun(fleet, token)
        async with orchestrated(fleet) as kept:
            (made,) = await kept.done("operator", "POST", "/api/fleet/claims", {"count": 1, "uses": 1})
            trust = await kept.done("operator", "GET", "/api/fleet/trust")
            up = Up(folder / "node", SITE)
            up.site.with_name("fleet.json").write_text(json.dumps(trust | {"orchestrator": f"http://{kept.address}"}))
            up.site.with_name("claim").write_text(made["code"])
            try:
                await asyncio.to_thread(up.start)
                await until_async(lambda: bool(kept.found.fleet.nodes))
                found = await kept.artifact("m", times(2))
                assert (found["state"], found["signatures"]) == ("pending", [])
                sign = ("fleet", "sign", "--yes", "--json", "--url", f"http://{kept.address}", "--key")
                asks = {"LITTORAL_TOKEN": kept.tokens["publisher"], "LITTORAL_PIN": PIN}
                by_token = await asyncio.to_thread(token.littoral, *sign, URI, "--public", token.public, **asks)
                assert by_token.json["signed_by"] == [read_public(token.public).keyid], by_token
                assert by_token.json["missing"] == 1
                by_file = await asyncio.to_thread(token.littoral, *sign, fleet / "people/targets-3.key", **asks)
                assert by_file.json["missing"] == 0, by_file
                order = {"nodes": [*kept.found.fleet.nodes], "set": {"models": {"m": found["target"]}}, "gates": GATES}
                rollout = await kept.done("operator", "POST", "/api/fleet/rollouts", order)

                async def is_done() -> bool:
                    said = await kept.done("viewer", "GET", f"/api/fleet/rollouts/{rollout['id']}")
                    assert said["state"] in ("running", "done"), said
                    return bool(said["state"] == "done")

                await until_true(is_done)
                said = send_json(up.address, "POST", "/v2/models/m/infer", asked(3))
                assert json.loads(said.body)["outputs"][0]["data"][0] == 6
            finally:
                await asyncio.to_thread(up.end, signal.SIGKILL)


def test_the_pin_is_asked_for_where_somebody_is(token: Token, waiting: Path, tmp_path: Path) -> None:
    file = tmp_path / "root.json"
    file.write_bytes(waiting.read_bytes())
    ours, theirs = os.openpty()
    asks = subprocess.Popen(
        ["setsid", "--ctty", "--wait", *command("keys", "sign", file, "--key", URI, "--public", token.public)],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=token.variables(),
    )
    os.close(theirs)
    with asks, os.fdopen(ours, "r+b", buffering=0) as terminal:
        shown = b""
        while f"PIN of {URI}: ".encode() not in shown:
            shown += terminal.read(1)
        terminal.write(f"{PIN}\n".encode())
        try:
            while data := terminal.read(4096):
                shown += data
        except OSError:
            assert asks.wait() == 0, shown
    assert b"signed by" in shown
    assert PIN.encode() not in shown


@pytest.mark.parametrize(
    ("uri", "more", "told"),
    [
        (URI, {"LITTORAL_PIN": "13579"}, "key 2 on token `reef`: the PIN is wrong"),
        ("hsm:2?label=atoll", {}, "token `atoll`: No PKCS#11 token found"),
        ("hsm:7", {}, "key 7 on the token: could not find ECDSA private key"),
        ("hsm:3", {}, "is not the one whose public half was given"),
        (URI, {"PYKCS11LIB": "/etc/passwd"}, "while loading /etc/passwd"),
    ],
    ids=["pin", "token", "key", "other-key", "no-library"],
)
def test_what_a_token_refuses_says_why_and_what_to_do(
    token: Token, waiting: Path, tmp_path: Path, uri: str, more: dict[str, str], told: str
) -> None:
    file = tmp_path / "root.json"
    file.write_bytes(waiting.read_bytes())
    done = token.littoral("keys", "sign", file, "--key", uri, "--public", token.public, **{"LITTORAL_PIN": PIN} | more)
    assert done.code not in (0, 1), done
    assert told in done.err
    assert "hint:" in done.err
    assert "Traceback" not in done.err
    assert file.read_bytes() == waiting.read_bytes()


@pytest.mark.parametrize(
    ("uri", "public", "more", "told"),
    [
        ("hsm:slot", "reef", {}, "names no key on a token"),
        (URI, "reef", {"PYKCS11LIB": ""}, "`PYKCS11LIB` is not set"),
        (URI, "reef", {"PYKCS11LIB": "/nowhere.so"}, "`PYKCS11LIB` is `/nowhere.so`, which is not there"),
        (URI, "file", {}, "for `ed25519`, which no token signs by here"),
        (URI, "reef", {"LITTORAL_PIN_FILE": "/nowhere/pin"}, "`LITTORAL_PIN_FILE`: `/nowhere/pin`"),
        (URI, "reef", {}, "wants a PIN, and nobody is there to ask"),
    ],
    ids=["uri", "no-module", "module-gone", "other-kind", "pin-file", "nobody"],
)
def test_what_is_wrong_is_said_before_the_token_is_asked(
    token: Token, tmp_path: Path, uri: str, public: str, more: dict[str, str], told: str
) -> None:
    new_key(tmp_path / "file")
    file = token.public if public == "reef" else tmp_path / "file.pub"
    with settings.override(**{"PYKCS11LIB": token.module} | more), pytest.raises(LittoralError, match=re.escape(told)):
        open_signer(uri, public=file).sign(b"what is signed")
