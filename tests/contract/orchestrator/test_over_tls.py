"""An orchestrator over HTTPS: who is answered, files that change while nodes check in, and where it does not listen."""

import asyncio
import shutil
import socket
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple

import pytest

from littoral.errors import PeerError, SettingError
from littoral.orchestrator.file import parse_file
from littoral.tables.addresses import parse_address
from littoral.updates.calls import Calls
from littoral.updates.wire import CheckIn, Enrol
from mesh_certificates import Authority
from orchestrated import FILE, Kept, orchestrated
from raw_http import read_reply, request
from waiting import until_true

TLS = f'{FILE}\n[tls]\ncertificate = "certificate.pem"\nkey = "key.pem"\n'


class Secure(NamedTuple):
    kept: Kept
    authority: Authority
    token: str

    def calls(self) -> Calls:
        return Calls(f"https://{self.kept.address}", self.authority.ca.read_text(), self.token)

    def connect(self) -> ssl.SSLSocket:
        host, _, port = self.kept.address.rpartition(":")
        context = ssl.create_default_context(cafile=str(self.authority.ca))
        return context.wrap_socket(socket.create_connection((host, int(port)), 60), server_hostname=host)

    def serial(self) -> str:
        """Of the certificate that a new connection is shown."""
        with self.connect() as connection:
            return str(connection.getpeercert()["serialNumber"])  # type: ignore[index]

    def show_another(self) -> None:
        certify(self.authority, self.kept.folder)


def certify(authority: Authority, folder: Path) -> None:
    """Each file is replaced as a whole, as those do who renew certificates."""
    made = authority.issue("reef")
    for source, name in ((made.key, "key.pem"), (made.certificate, "certificate.pem")):
        shutil.copy(source, folder / "new")
        (folder / "new").rename(folder / name)


@pytest.fixture
async def secure(tmp_path: Path) -> AsyncIterator[Secure]:
    authority = Authority(tmp_path / "ca")
    (tmp_path / "fleet").mkdir()
    certify(authority, tmp_path / "fleet")
    async with orchestrated(tmp_path / "fleet", TLS) as kept:
        (claim,) = await kept.found.enrolment.claims(1, uses=1, expires_s=600, group="", labels={}, by="a test")
        enrolled = await kept.found.enrolment.enrol(Enrol(claim=claim.code, public_key="PEM", node="gw-1"), "here")
        yield Secure(kept, authority, enrolled.token)


async def test_a_node_checks_in_and_speaks_to_nobody_else(secure: Secure, tmp_path: Path) -> None:
    said = await asyncio.to_thread(secure.calls().check_in, CheckIn(deployment=0, state="idle"))
    assert said.deployment == 0
    strange = Authority(tmp_path / "strange")
    calls = Calls(f"https://{secure.kept.address}", strange.ca.read_text(), secure.token)
    with pytest.raises(PeerError, match="certificate verify failed"):
        await asyncio.to_thread(calls.check_in, CheckIn(deployment=0, state="idle"))
    plain = Calls(f"http://{secure.kept.address}", None, secure.token)
    with pytest.raises(PeerError):
        await asyncio.to_thread(plain.check_in, CheckIn(deployment=0, state="idle"))


async def test_a_new_certificate_counts_and_no_check_in_is_lost(secure: Secure) -> None:
    before = await asyncio.to_thread(secure.serial)
    kept = await asyncio.to_thread(secure.connect)
    counts, is_over = [0], False

    async def check_in() -> None:
        while not is_over:
            await asyncio.to_thread(secure.calls().check_in, CheckIn(deployment=0, state="idle"))
            counts[0] += 1

    async with asyncio.TaskGroup() as group:
        group.create_task(check_in())
        await asyncio.to_thread(secure.show_another)

        async def is_new() -> bool:
            return await asyncio.to_thread(secure.serial) != before

        await until_true(is_new)
        seen = counts[0]

        async def has_gone_on() -> bool:
            return counts[0] >= seen + 3

        await until_true(has_gone_on)
        is_over = True

    def asked() -> int:
        with kept:
            kept.sendall(request("GET", "/livez"))
            return read_reply(kept).status

    assert await asyncio.to_thread(asked) == 200, "a connection that was open goes on"


async def test_files_that_do_not_fit_leave_what_was_there(secure: Secure) -> None:
    before = await asyncio.to_thread(secure.serial)
    (secure.kept.folder / "certificate.pem").write_text("no certificate")
    for _ in range(3):
        assert await asyncio.to_thread(secure.serial) == before
    await asyncio.to_thread(secure.calls().check_in, CheckIn(deployment=0, state="idle"))


@pytest.mark.parametrize("listen", ["0.0.0.0:8680", "[::]:8680", "192.0.2.7:8680"])
def test_plain_http_is_not_served_beyond_this_machine(listen: str, tmp_path: Path) -> None:
    text = FILE.replace("127.0.0.1:0", listen)
    with pytest.raises(SettingError, match="TLS"):
        parse_file(text.encode(), tmp_path / "orchestrator.toml")
    found = parse_file(FILE.encode(), tmp_path / "orchestrator.toml")
    with pytest.raises(SettingError, match="TLS"):
        found.listening_at(parse_address(listen))
    secure = parse_file(TLS.replace("127.0.0.1:0", listen).encode(), tmp_path / "orchestrator.toml")
    assert (str(secure.listen), secure.scheme) == (listen, "https")
