"""A whole node that asks for tokens and speaks TLS, by `littoral up`, with clients as others have them."""

import contextlib
import shutil
import socket
import ssl
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import pytest
import tritonclient.grpc as triton
from qdrant_client import QdrantClient
from qdrant_client.http.exceptions import UnexpectedResponse
from tritonclient.utils import InferenceServerException

from browser import Browser, browser
from command import command, environment, littoral
from littoral import settings
from littoral.errors import ForbiddenError, TrustError, UnauthorizedError
from littoral.node.client import NodeClient
from mesh_certificates import Authority
from ports import free_port
from supervised import short_folder
from waiting import until

pytestmark = pytest.mark.e2e

SITE = """
[node]
name = "gw-1"
listen = "{listen}"
{more}
[auth]

[collections.frames]
vectors = {{ size = 4, distance = "Cosine" }}
"""
TLS = """
[tls]
certificate = "certificate.pem"
key = "key.pem"
"""
AXE = (resources.files("axe_playwright_python") / "axe.min.js").read_text()


@dataclass
class Up:
    """address: of HTTP. grpc: a port, 0 without."""

    folder: Path
    address: str
    grpc: int = 0

    @property
    def site(self) -> Path:
        return self.folder / "site.toml"

    def token(self, name: str, roles: str) -> str:
        return str(littoral("tokens", "new", self.site, name, "--roles", roles, "--json").json["token"])


def up(folder: Path, scheme: str) -> Iterator[str]:
    log = folder / "log.txt"
    with log.open("w") as file:
        process = subprocess.Popen(command("up", folder / "site.toml"), stderr=file, env=environment())
    try:
        until(lambda: f"serves {scheme}://" in log.read_text() or process.poll() is not None)
        assert process.poll() is None, log.read_text()
        yield log.read_text().rpartition(f"serves {scheme}://")[2].split()[0]
    finally:
        process.terminate()
        process.wait(30)


@pytest.fixture(scope="module")
def secured() -> Iterator[tuple[Up, Authority]]:
    with short_folder() as folder:
        authority, port = Authority(folder / "ca"), free_port()
        show(folder, authority)
        (folder / "site.toml").write_text(SITE.format(listen="127.0.0.1:0", more=f'grpc = "127.0.0.1:{port}"') + TLS)
        for address in up(folder, "https"):
            yield Up(folder, address, port), authority


def show(folder: Path, authority: Authority) -> None:
    """A new certificate in the node's files."""
    made = authority.issue("gw-1")
    for source, name in ((made.key, "key.pem"), (made.certificate, "certificate.pem")):
        shutil.copy(source, folder / "new")
        (folder / "new").rename(folder / name)


def test_verbs_show_their_token_and_check_the_certificate(secured: tuple[Up, Authority]) -> None:
    node, authority = secured
    url = f"https://{node.address}"
    with settings.override(LITTORAL_CA=str(authority.ca)):
        with (
            contextlib.closing(NodeClient(url)) as client,
            pytest.raises(UnauthorizedError, match="this node asks for a token"),
        ):
            client.call("GET", "/api/node")
        shown = settings.override(LITTORAL_TOKEN=node.token("reader", "read"))
        with shown, contextlib.closing(NodeClient(url)) as client:
            assert client.call("GET", "/api/node")["name"] == "gw-1"
            with pytest.raises(ForbiddenError, match="needs the role `write`"):
                client.collection("DELETE", "frames")
    with pytest.raises(TrustError, match="its certificate is not trusted"):
        NodeClient(url).call("GET", "/api/node")
    found = littoral("doctor", node.site, "--json")
    told = {(finding["check"], finding["status"]) for finding in found.json["findings"]}
    assert told >= {("tls", "ok"), ("tokens", "ok")}


@pytest.fixture
def clients() -> Iterator[contextlib.ExitStack]:
    with contextlib.ExitStack() as stack:
        yield stack


def test_an_unmodified_client_of_qdrant_shows_its_key(
    secured: tuple[Up, Authority], clients: contextlib.ExitStack
) -> None:
    node, authority = secured
    token = node.token("writer", "write")

    trusted = ssl.create_default_context(cafile=str(authority.ca))

    def client(key: str | None) -> QdrantClient:
        return QdrantClient(
            url=f"https://{node.address}", api_key=key, verify=trusted, check_compatibility=False, timeout=60
        )

    with contextlib.closing(client(None)) as unknown, pytest.raises(UnexpectedResponse, match="401"):
        unknown.get_collections()
    known = clients.enter_context(contextlib.closing(client(token)))
    known.upsert("frames", [{"id": 1, "vector": [1.0, 0, 0, 0], "payload": {}}], wait=True)  # type: ignore[list-item]
    assert known.count("frames").count == 1
    littoral("tokens", "revoke", node.site, "writer")

    def is_refused() -> bool:
        try:
            known.get_collections()
        except UnexpectedResponse as error:
            return error.status_code == 401
        return False

    until(is_refused)


def test_grpc_asks_for_the_same_tokens_over_tls(secured: tuple[Up, Authority]) -> None:
    node, authority = secured
    infer, admin = node.token("camera", "infer"), node.token("operator", "admin")
    with triton.InferenceServerClient(
        f"127.0.0.1:{node.grpc}", ssl=True, root_certificates=str(authority.ca)
    ) as client:
        assert client.is_server_live()
        with pytest.raises(InferenceServerException, match="UNAUTHENTICATED.*this node asks for a token"):
            client.get_server_metadata()
        for key in ("authorization", "api-key"):
            shown = {key: f"Bearer {infer}" if key == "authorization" else infer}
            assert client.get_server_metadata(headers=shown).name
        with pytest.raises(InferenceServerException, match="PERMISSION_DENIED.*needs the role `admin`"):
            client.load_model("x", headers={"api-key": infer})
        with pytest.raises(InferenceServerException, match="NOT_FOUND"):
            client.load_model("x", headers={"api-key": admin})
        with pytest.raises(InferenceServerException, match="UNAUTHENTICATED"):
            client.get_server_metadata(headers={"api-key": infer[:-1]})


def test_a_new_certificate_is_shown_by_both_without_a_restart(secured: tuple[Up, Authority]) -> None:
    node, authority = secured
    context = ssl.create_default_context(cafile=str(authority.ca))

    def shown(port: int) -> str:
        with (
            socket.create_connection(("127.0.0.1", port), 20) as plain,
            context.wrap_socket(plain, server_hostname="127.0.0.1") as connection,
        ):
            return str(connection.getpeercert()["serialNumber"])  # type: ignore[index]

    ports = (int(node.address.rpartition(":")[2]), node.grpc)
    before = [shown(port) for port in ports]
    show(node.folder, authority)
    until(lambda: all(shown(port) != old for port, old in zip(ports, before, strict=True)))
    assert shown(ports[0]) == shown(ports[1])


def test_a_page_asks_for_a_token_once(tmp_path: Path) -> None:
    with short_folder() as folder, browser(tmp_path) as chromium:
        (folder / "site.toml").write_text(SITE.format(listen="127.0.0.1:0", more=""))
        for address in up(folder, "http"):
            log_in(chromium, Up(folder, address))


def log_in(page: Browser, node: Up) -> None:
    page.open(f"http://{node.address}")
    page.until("#login[open]")
    assert page.accessibility(AXE) == []
    page.one("#token").send_keys("wrong")
    page.one("#login button").click()
    until(lambda: page.text("#token-problem") == "the token is none of this node's")
    page.one("#token").clear()
    page.one("#token").send_keys(node.token("ops", "admin"))
    page.one("#login button").click()
    page.until("#node-state[data-state=good]")
    assert page.all("#login") == []
    assert page.run("return document.cookie") == ""
    page.open(f"http://{node.address}")
    page.until("#node-state[data-state=good]")
    assert all("401" in line for line in page.complaints())
