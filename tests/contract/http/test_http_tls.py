"""TLS of the HTTP interface: who is spoken to and who is not, and certificates that change under load."""

import asyncio
import contextlib
import shutil
import socket
import ssl
import warnings
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from guarded_app import Guarded, guarded
from littoral.errors import SettingError
from littoral.web import Certificates, Limits
from mesh_certificates import Authority, Credentials
from mesh_site import MovedClock
from raw_http import Reply, read_reply, request
from waiting import until_async


@dataclass
class Secured:
    """authority, other: of certificates; files: those that the server reads."""

    node: Guarded
    folder: Path
    authority: Authority
    clock: MovedClock

    def show(self, credentials: Credentials) -> None:
        """From now on the server's files hold these."""
        for source, name in ((credentials.key, "key.pem"), (credentials.certificate, "certificate.pem")):
            shutil.copy(source, self.folder / "new")
            (self.folder / "new").rename(self.folder / name)
        self.clock.move(2.0)

    def context(self, client: Credentials | None = None, authority: Authority | None = None) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str((authority or self.authority).ca))
        if client is not None:
            context.load_cert_chain(client.certificate, client.key)
        return context

    def connect(self, context: ssl.SSLContext) -> ssl.SSLSocket:
        host, _, port = self.node.address.rpartition(":")
        return context.wrap_socket(socket.create_connection((host, int(port)), 20), server_hostname=host)

    def send(self, connection: ssl.SSLSocket, path: str = "/livez") -> Reply:
        connection.sendall(request("GET", path))
        return read_reply(connection)

    async def ask(self, context: ssl.SSLContext) -> int:
        def ask() -> int:
            with self.connect(context) as connection:
                return self.send(connection).status

        return await asyncio.to_thread(ask)

    async def lets_in(self, context: ssl.SSLContext) -> bool:
        """In TLS 1.3 a caller learns after its handshake that its certificate was refused."""
        try:
            return await self.ask(context) == 200
        except (ssl.SSLError, ConnectionError):
            return False

    def shown(self) -> int:
        """Serial number of the certificate that a new connection is shown."""
        with self.connect(self.context()) as connection:
            return int(connection.getpeercert()["serialNumber"], 16)  # type: ignore[index,arg-type]


@pytest.fixture(params=["callers of any kind"])
async def secured(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Secured]:
    authority, clock = Authority(tmp_path / "ca"), MovedClock()
    first = authority.issue("node")
    shutil.copy(first.certificate, tmp_path / "certificate.pem")
    shutil.copy(first.key, tmp_path / "key.pem")
    clients = None
    if request.param == "callers with certificates":
        clients = tmp_path / "clients.pem"
        shutil.copy(authority.ca, clients)
    certificates = Certificates(tmp_path / "certificate.pem", tmp_path / "key.pem", clients, clock)
    async with guarded(tmp_path, certificates=certificates) as node:
        yield Secured(node, tmp_path, authority, clock)


async def test_who_trusts_the_authority_is_answered(secured: Secured) -> None:
    assert await secured.ask(secured.context()) == 200
    with pytest.raises(ssl.SSLCertVerificationError):
        await secured.ask(secured.context(authority=Authority(secured.folder / "other")))


async def test_plain_http_gets_nothing(secured: Secured) -> None:
    assert (await secured.node.ask("GET", "/livez")).status == 0
    assert secured.node.reached == []


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
async def test_old_versions_are_refused(secured: Secured, version: ssl.TLSVersion) -> None:
    context = secured.context()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = context.maximum_version = version
    context.set_ciphers("ALL:@SECLEVEL=0")
    assert not await secured.lets_in(context)


async def test_a_new_certificate_is_shown_and_no_request_is_lost(secured: Secured) -> None:
    """Requests on connections that are open, and on new ones, while the files change, one after the other."""
    before = await asyncio.to_thread(secured.shown)
    kept = await asyncio.to_thread(secured.connect, secured.context())
    statuses: list[int] = []
    is_over = False

    async def load() -> None:
        while not is_over:
            statuses.append(await secured.ask(secured.context()))

    loads = [asyncio.create_task(load()) for _ in range(2)]
    for _ in range(3):
        secured.show(secured.authority.issue("node"))
        await answered(statuses, len(statuses) + 4)
    is_over = True
    await asyncio.gather(*loads)
    assert set(statuses) == {200}
    assert await asyncio.to_thread(secured.shown) != before
    with kept:
        assert (await asyncio.to_thread(secured.send, kept)).status == 200


async def answered(statuses: list[int], count: int) -> None:
    await until_async(lambda: len(statuses) >= count)


async def test_files_that_do_not_belong_together_change_nothing(
    secured: Secured, caplog: pytest.LogCaptureFixture
) -> None:
    """As while one of them is written; once both are there, they count."""
    before = await asyncio.to_thread(secured.shown)
    made = secured.authority.issue("node")
    shutil.copy(made.key, secured.folder / "key.pem")
    secured.clock.move(2.0)
    assert await asyncio.to_thread(secured.shown) == before
    assert "the last good certificate stays" in caplog.text
    secured.show(made)
    assert await asyncio.to_thread(secured.shown) != before


@pytest.mark.parametrize("secured", ["callers with certificates"], indirect=True)
async def test_callers_show_a_certificate_where_they_must(secured: Secured) -> None:
    assert await secured.lets_in(secured.context(secured.authority.issue("till")))
    foreign = Authority(secured.folder / "foreign").issue("till")
    expired = secured.authority.issue("till", days=-1)
    for client in (None, foreign, expired):
        assert not await secured.lets_in(secured.context(client))
    assert secured.node.reached == ["probes"]


@pytest.mark.parametrize("secured", ["callers with certificates"], indirect=True)
async def test_an_authority_of_callers_is_taken_away_without_a_restart(secured: Secured) -> None:
    """Nor does a session of TLS from before let the caller in again."""
    old = secured.context(secured.authority.issue("till"))
    assert await secured.ask(old) == 200
    other = Authority(secured.folder / "other")
    shutil.copy(other.ca, secured.folder / "clients.pem")
    secured.clock.move(2.0)
    assert not await secured.lets_in(old)
    assert await secured.lets_in(secured.context(other.issue("till")))
    assert secured.node.reached == ["probes"] * 2


@pytest.mark.parametrize("lacking", ["certificate.pem", "key.pem", "clients.pem"])
@pytest.mark.parametrize("kind", ["missing", "empty", "no PEM"])
def test_a_server_does_not_start_with_files_that_are_wrong(tmp_path: Path, lacking: str, kind: str) -> None:
    made = Authority(tmp_path / "ca").issue("node")
    files = {"certificate.pem": made.certificate, "key.pem": made.key, "clients.pem": made.ca}
    for name, source in files.items():
        shutil.copy(source, tmp_path / name)
    (tmp_path / lacking).unlink()
    if kind != "missing":
        (tmp_path / lacking).write_text("" if kind == "empty" else "-----BEGIN CERTIFICATE-----\nx\n")
    with pytest.raises(SettingError, match="TLS: "):
        Certificates(*(tmp_path / name for name in files), MovedClock())


async def test_a_handshake_that_does_not_end_is_cut_off(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "ca")
    made = authority.issue("node")
    certificates = Certificates(made.certificate, made.key, None, MovedClock())
    async with guarded(tmp_path, certificates=certificates, limits=Limits(handshake_s=0.3)) as node:
        host, _, port = node.address.rpartition(":")
        for sent in (b"", b"\x16\x03\x01", b"GET / HTTP/1.1\r\n"):
            reader, writer = await asyncio.open_connection(host, int(port))
            writer.write(sent)
            async with asyncio.timeout(60):
                with contextlib.suppress(ConnectionError):
                    await reader.read()
            writer.close()
