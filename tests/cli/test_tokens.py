"""`littoral tokens`: made, listed, revoked; and what `littoral doctor` says of tokens and certificates."""

import json
import shutil
from pathlib import Path

import pytest

from command import littoral as cli
from littoral.clock import SYSTEM
from littoral.node.access.roles import Role
from littoral.node.doctor.access import examine_access
from littoral.web.access.tokens import new_token, read_tokens, write_tokens
from mesh_certificates import Authority


@pytest.fixture
def site(tmp_path: Path) -> Path:
    file = tmp_path / "site.toml"
    file.write_text('[auth]\ntokens = "kept/tokens.json"\n[tls]\ncertificate = "c.pem"\nkey = "k.pem"\n')
    (tmp_path / "kept").mkdir()
    return file


def found(site: Path) -> dict[str, tuple[str, str]]:
    return {finding.check: (finding.status.value, finding.message) for finding in examine_access(site)}


def certify(site: Path, days: float) -> None:
    made = Authority(site.parent / "ca").issue("gw-1", days=days)
    shutil.copy(made.certificate, site.parent / "c.pem")
    shutil.copy(made.key, site.parent / "k.pem")


def test_a_token_is_made_listed_and_revoked(site: Path) -> None:
    made = cli("tokens", "new", site, "till-3", "--roles", "infer,read", "--days", "90")
    assert (made.code, made.out.startswith("littoral_"), made.out.count("\n")) == (0, True, 1)
    assert made.err == "`till-3` may read, infer; this is not shown again\n"
    kept = json.loads((site.parent / "kept/tokens.json").read_text())["tokens"]
    assert [token["id"] for token in kept] == [made.out.split("_")[1]]
    listed = cli("tokens", "list", site)
    assert listed.out == f"{kept[0]['id']}  till-3  read,infer  90.0 days left\n"
    gone = cli("tokens", "revoke", site, "till-3")
    assert gone.out == f"{kept[0]['id']} `till-3` is revoked\n"
    assert cli("tokens", "revoke", site, "till-3").code == 4
    wrong = cli("tokens", "new", site, "x", "--roles", "root")
    assert (wrong.code, wrong.err.splitlines()[1]) == (4, "hint: known: read, infer, write, admin, steps")


def test_a_site_without_the_table_has_none(tmp_path: Path) -> None:
    (tmp_path / "site.toml").write_text("")
    done = cli("tokens", "list", tmp_path / "site.toml")
    assert (done.code, "has no table `[auth]`" in done.err) == (4, True)


def test_the_doctor_looks_at_tokens(site: Path) -> None:
    file = site.parent / "kept/tokens.json"
    assert found(site)["tokens"] == ("warn", "nobody has a token")
    write_tokens(file, [new_token("a", [Role.READ], SYSTEM.wall())[1]])
    assert found(site)["tokens"] == ("ok", "1 tokens")
    soon = new_token("b", [Role.READ], SYSTEM.wall(), life_s=13 * 86400)[1]
    write_tokens(file, [*read_tokens(file), soon])
    assert found(site)["tokens"] == ("warn", "ended, or end in 14 days: `b`")
    file.write_text("{")
    assert found(site)["tokens"][0] == "fail"


@pytest.mark.parametrize(
    ("days", "status", "words"),
    [(30.0, "ok", "days left"), (13.0, "warn", "days left"), (-2.0, "fail", "ended 2.0 days ago")],
)
def test_the_doctor_looks_at_the_certificate(site: Path, days: float, status: str, words: str) -> None:
    certify(site, days)
    told = found(site)["tls"]
    assert (told[0], words in told[1]) == (status, True)


def test_the_doctor_tells_files_that_do_not_belong_together(site: Path) -> None:
    assert found(site)["tls"][0] == "fail"
    certify(site, 30)
    shutil.copy(Authority(site.parent / "other").issue("gw-1").key, site.parent / "k.pem")
    assert found(site)["tls"][0] == "fail"


def test_the_doctor_says_what_is_lacking_where_others_reach_the_node(tmp_path: Path) -> None:
    file = tmp_path / "site.toml"
    file.write_text('[node]\nlisten = "10.0.0.1:1"\nbeyond_loopback = "without token and TLS"\n')
    words = "others reach this node without token and TLS: `node.beyond_loopback` allows it"
    assert found(file) == {"access": ("warn", words)}
    file.write_text("")
    assert found(file) == {}
