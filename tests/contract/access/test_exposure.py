"""Where others reach a node, it has tokens and TLS, or its site file says in words what is lacking."""

from pathlib import Path

import pytest

from littoral.errors import SettingError
from littoral.node.site import Site, parse_address, parse_site
from littoral.tables.exposure import is_loopback

TOKENS = "[auth]\n"
TLS = '[tls]\ncertificate = "c.pem"\nkey = "k.pem"\n'


def site(listen: str, tables: str = "", words: str | None = None, *, key: str = "listen") -> Site:
    said = "" if words is None else f'beyond_loopback = "{words}"\n'
    return parse_site(f'[node]\n{key} = "{listen}"\n{said}{tables}'.encode(), Path("site.toml"))


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "[::1]", "localhost", "a.localhost"])
def test_this_machine_alone_needs_nothing(host: str) -> None:
    assert site(f"{host}:1").node.listen == f"{host}:1"


@pytest.mark.parametrize(
    "host", ["0.0.0.0", "[::]", "10.0.0.1", "gw-1", "localhost.example", "[fe80::1]", "[::ffff:10.0.0.1]"]
)
@pytest.mark.parametrize("key", ["listen", "grpc"])
@pytest.mark.parametrize(
    ("tables", "lacking"), [("", "token and TLS"), (TOKENS, "TLS"), (TLS, "token")], ids=["nothing", "tokens", "TLS"]
)
def test_others_need_both_or_words(host: str, key: str, tables: str, lacking: str) -> None:
    with pytest.raises(SettingError) as caught:
        site(f"{host}:1", tables, key=key)
    assert caught.value.message == f"site.toml: `node.{key}`: at `{host}:1` others reach it, without {lacking}"
    assert f'`node.beyond_loopback = "without {lacking}"`' in str(caught.value.hint)
    assert site(f"{host}:1", tables, f"without {lacking}", key=key)
    assert site(f"{host}:1", TOKENS + TLS, key=key)


def test_words_for_one_thing_do_not_do_for_the_other() -> None:
    for words, tables in (("without TLS", TLS), ("without token", TOKENS), ("without TLS", ""), ("without token", "")):
        with pytest.raises(SettingError, match="others reach it"):
            site("10.0.0.1:1", tables, words)
    assert site("10.0.0.1:1", TLS, "without token and TLS")
    with pytest.raises(SettingError, match="must be one of with token and TLS, without TLS"):
        site("127.0.0.1:1", "", "yes")


def test_another_address_on_the_command_line_is_no_way_around() -> None:
    with pytest.raises(SettingError, match=r"`node.listen`: at `0.0.0.0:1` others reach it, without token and TLS"):
        site("127.0.0.1:1").listening_at(parse_address("0.0.0.0:1"))
    assert site("127.0.0.1:1", "", "without token and TLS").listening_at(parse_address("0.0.0.0:1"))


def test_what_is_loopback() -> None:
    assert not is_loopback("127.0.0.1.example")
    assert not is_loopback("::ffff:10.0.0.1")
    assert not is_loopback("")
