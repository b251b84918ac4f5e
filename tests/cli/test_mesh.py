"""`littoral mesh` and `littoral doctor`: what they print, and their exit codes."""

import asyncio
import random
from pathlib import Path

import pytest

from command import Done
from command import littoral as cli
from littoral.clock import SYSTEM
from littoral.errors import PeerError
from littoral.mesh.identity.identity import Identity
from littoral.mesh.identity.renewal import Renewal
from mesh_site import DAY_S, MovedClock, found, joined
from ports import free_port


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """gw-1's data folder."""
    founder = found(tmp_path, MovedClock(wall_s=SYSTEM.wall()))
    founder.clock.save(now=True)
    return tmp_path / "gw-1"


def lines(done: Done) -> list[str]:
    assert done.code == 0, done.err
    return done.out.splitlines()


def test_a_site_is_founded_once(tmp_path: Path) -> None:
    site = tmp_path / "site.toml"
    site.write_text('[node]\nname = "gw-1"\ndata = "kept"\n')
    first = lines(cli("mesh", "init", site, "--site", "farm", "--name", "gw-1", folder=tmp_path))
    assert first[0] == f"site `farm`, node `gw-1`: {tmp_path / 'kept' / 'mesh'}"
    assert first[1] == "  root    farm-root.pem: take it away from this machine, it is needed once in five years"
    assert (tmp_path / "farm-root.pem").stat().st_mode & 0o077 == 0
    again = cli("mesh", "init", site, "--site", "farm", "--name", "gw-1", folder=tmp_path)
    assert (again.code, again.out) == (4, "")
    assert again.err == "littoral: `farm-root.pem` exists\nhint: `--root` uses a root that was made before\n"
    at = ("mesh", "init", tmp_path / "b", "--site", "barn", "--name", "gw-1", "--root", "farm-root.pem", "--json")
    other = cli(*at, folder=tmp_path)
    assert other.json["root_file"] is None
    taken = cli("mesh", "init", site, "--site", "farm", "--name", "gw-1", "--root", "farm-root.pem", folder=tmp_path)
    assert taken.code == 4
    assert "holds the identity of a node already" in taken.err


def test_status_is_a_contract(site: Path) -> None:
    report = cli("mesh", "status", site, "--json").json
    assert report.keys() == {
        "site", "name", "is_issuer", "serial", "issued_at_s", "expires_at_s", "clock_s", "roster_number", "writer",
        "nodes", "revoked", "rollover",
    }  # fmt: skip
    assert (report["site"], report["name"], report["is_issuer"], report["writer"]) == ("farm", "gw-1", True, "gw-1")
    assert report["nodes"] == [{"name": "gw-1", "endpoints": [], "region": "", "labels": {}, "is_issuer": True}]
    text = lines(cli("mesh", "status", site))
    assert text[0] == "node `gw-1` of the site `farm`, an issuer"
    assert text[1].endswith(" days left")
    assert text[2:4] == ["  roster       1, written by `gw-1`", "  gw-1         no region, issuer"]
    assert text[4].startswith(f"  authority    {report['rollover']['authority'][:16]}…, ")
    assert report["rollover"].keys() == {
        "authority", "expires_at_s", "older", "is_behind", "has_key", "begun_at_s", "finished_at_s", "shown",
        "waiting", "without",
    }  # fmt: skip


def test_a_token_is_the_only_line_on_stdout(site: Path) -> None:
    done = cli("mesh", "token", site, "gw-2", "--region", "north", "--label", "rack=7")
    assert len(lines(done)) == 1
    assert done.out.startswith("littoral1.gw-1.")
    assert done.err == "for `gw-2`, once, within 60 minutes\n"
    wrong = cli("mesh", "token", site, "GW_2")
    assert (wrong.code, wrong.out) == (4, "")
    assert "`GW_2`: its name is 1 to 63 of a-z, 0-9 and `-`" in wrong.err


def test_a_node_of_the_roster_becomes_an_issuer(tmp_path: Path) -> None:
    clock = MovedClock(wall_s=SYSTEM.wall())
    asyncio.run(joined(tmp_path, found(tmp_path, clock), "gw-2", clock))
    done = cli("mesh", "promote", tmp_path / "gw-1", "gw-2")
    assert lines(done) == ["node `gw-2` becomes an issuer as soon as it hears of it"]
    nodes = cli("mesh", "status", tmp_path / "gw-1", "--json").json["nodes"]
    assert [node["is_issuer"] for node in nodes] == [True, True]
    again = cli("mesh", "promote", tmp_path / "gw-1", "gw-2")
    assert (again.code, again.err) == (4, "littoral: node `gw-2` is an issuer\n")
    unknown = cli("mesh", "promote", tmp_path / "gw-1", "gw-3")
    assert (unknown.code, unknown.out) == (4, "")
    assert "node `gw-3` is not in the roster" in unknown.err
    elsewhere = cli("mesh", "promote", tmp_path / "gw-2", "gw-2")
    assert elsewhere.code != 0


def test_without_an_identity_it_says_what_begins_one(tmp_path: Path) -> None:
    for verb in (("mesh", "status"), ("doctor",)):
        done = cli(*verb, tmp_path / "nothing")
        assert done.code == 4
        assert "`littoral mesh init` begins a site, `littoral mesh join` joins one" in done.err


def test_nobody_at_the_door_is_exit_code_6(site: Path, tmp_path: Path) -> None:
    token = cli("mesh", "token", site, "gw-2").out.strip()
    at = f"127.0.0.1:{free_port()}"
    done = cli("mesh", "join", tmp_path / "b", "--at", at, "--token", token, "--name", "gw-2")
    assert (done.code, done.out) == (6, "")
    assert f"`{at}`" in done.err
    assert token not in done.err


def test_revoking_and_taking_over(site: Path, tmp_path: Path) -> None:
    clock = MovedClock(wall_s=SYSTEM.wall())
    founder = Identity.open(site, clock)
    second = asyncio.run(joined(tmp_path, founder, "gw-2", clock, is_issuer=True))
    done = cli("mesh", "revoke", site, "gw-2")
    assert lines(done) == ["node `gw-2` is revoked"]
    held = "`gw-2` held the issuing key: if it was stolen, `littoral mesh rollover begin` makes another"
    assert " ".join(done.err.split()) == held
    assert cli("mesh", "status", site, "--json").json["revoked"] == ["gw-2"]
    assert cli("mesh", "revoke", site, "gw-7").err == "littoral: node `gw-7` is not in the roster\n"
    serial = second.credential.certificate.serial
    revoked = cli("mesh", "revoke", site, "gw-1", "--serial", serial)
    assert lines(revoked) == [f"certificate {serial} of `gw-1` is revoked"]
    assert cli("mesh", "revoke", site).code == 2
    took = lines(cli("mesh", "take-over", second.folder.parent))
    assert took == ["`gw-2` writes the roster, `gw-1` no longer does"]


def test_a_site_goes_over_to_another_authority(tmp_path: Path) -> None:
    place = ("--site", "farm", "--name", "gw-1")
    lines(cli("mesh", "init", tmp_path / "a", *place, folder=tmp_path))
    lines(cli("mesh", "init", tmp_path / "b", *place, "--root-out", "other.pem", folder=tmp_path))
    nothing = cli("mesh", "rollover", "finish", tmp_path / "a")
    assert (nothing.code, nothing.err) == (4, "littoral: `farm` does not go over to another authority\n")
    wrong = cli("mesh", "rollover", "begin", tmp_path / "a", "--root", "other.pem", folder=tmp_path)
    assert (wrong.code, wrong.err) == (7, "littoral: this root has not signed the authority of `farm`\n")
    before = cli("mesh", "rollover", "status", tmp_path / "a", "--json").json
    told = lines(
        cli("mesh", "rollover", "begin", tmp_path / "a", "--root", "farm-root.pem", "--hours", "0", folder=tmp_path)
    )
    assert [line.split()[0] for line in told] == ["authority", "older", "shown", "waiting"]
    during = cli("mesh", "rollover", "status", tmp_path / "a", "--json").json
    assert during["older"] == [before["authority"]]
    assert (during["waiting"], during["is_behind"], during["has_key"]) == (["gw-1"], True, True)
    assert "gw-1: goes over to" in cli("doctor", tmp_path / "a").out
    refused = cli("mesh", "rollover", "finish", tmp_path / "a")
    assert refused.code == 4
    assert "not every node has shown a certificate by the new authority: `gw-1`" in refused.err
    writer = cli("mesh", "rollover", "finish", tmp_path / "a", "--without", "gw-1")
    assert (writer.code, "cannot be left behind" in writer.err) == (4, True)
    asyncio.run(Renewal(Identity.open(tmp_path / "a", SYSTEM), nobody, random.Random(0)).tick())
    lines(cli("mesh", "rollover", "finish", tmp_path / "a"))
    after = cli("mesh", "rollover", "status", tmp_path / "a", "--json").json
    assert (after["authority"], after["older"], after["shown"]) == (during["authority"], [], ["gw-1"])
    assert cli("doctor", tmp_path / "a").code == 0


async def nobody(peer: str, _service: str, _body: bytes) -> bytes:
    raise PeerError(f"peer `{peer}`: no answer")


def test_doctor_says_what_fails_and_why(site: Path, tmp_path: Path) -> None:
    clock = MovedClock(wall_s=SYSTEM.wall())
    port = free_port()
    founder = Identity.open(site, clock)
    asyncio.run(joined(tmp_path, founder, "gw-2", clock, endpoints=[f"tls/127.0.0.1:{port}"]))
    done = cli("doctor", site)
    assert done.code == 1
    assert done.out.splitlines() == [
        "ok    clock        gw-1: this machine's clock agrees with the site's time",
        "ok    certificate  gw-1: 30.0 days left",
        f"ok    authority    gw-1: {founder.trust.digest[:16]}…, 1825 days left",
        "ok    roster       gw-1: number 2, 2 nodes, 1 issuers",
        f"fail  port         tls/127.0.0.1:{port}: nothing listens there",
        "      hint: does the node run, and is this the port of its `[mesh]` table?",
    ]
    report = cli("doctor", site, "--peer", "gw-2", "--json").json
    assert report.keys() == {"ok", "findings"}
    assert report["ok"] is False
    assert {tuple(finding) for finding in report["findings"]} == {("check", "subject", "status", "message", "hint")}
    unknown = cli("doctor", site, "--peer", "gw-7")
    assert unknown.code == 4
    assert "the roster has: gw-1, gw-2" in unknown.err


def test_doctor_finds_an_ended_certificate(tmp_path: Path) -> None:
    found(tmp_path, MovedClock(wall_s=SYSTEM.wall() - 31 * DAY_S))
    done = cli("doctor", tmp_path / "gw-1")
    assert done.code == 1
    assert "fail  certificate  gw-1: this node's certificate ended 1.0 days ago" in done.out
