"""What goes into a pack: files of the site, packages, and what a machine must have."""

from pathlib import Path

import pytest

from littoral.errors import InputError, SetupError, TrustError
from littoral.node.pack.contents import Wanted, left_out, site_files
from littoral.node.pack.packages import extras_of, fit_of, packages
from littoral.node.site import Site, parse_site, read_site
from stopped_node import SITE, write_stopped

SECRETS = """
[tls]
certificate = "tls/node.pem"
key = "tls/node.key"

[mqtt]
broker = "mqtts://broker"
ca = "tls/ca.pem"
password_file = "keys/mqtt"
routes = []

[encryption]
key_file = "keys/at-rest"
"""
FILES = ("tls/node.pem", "tls/node.key", "tls/ca.pem", "keys/mqtt", "keys/at-rest")


@pytest.fixture
def site(tmp_path: Path) -> Site:
    found = write_stopped(tmp_path, SITE + SECRETS)
    for name in FILES:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    return read_site(found)


def test_keys_and_tokens_go_along_only_if_asked_for(site: Site) -> None:
    plain = [file.name for file in site_files(site, Wanted())]
    assert plain == ["models/plain/1/model.wasm", "models/plain/2/model.wasm", "site.toml", "tls/ca.pem"]
    told = [one.what for one in left_out(site, Wanted())]
    assert told == ["tokens.json", "node.pem", "node.key", "mqtt", "at-rest"]
    whole = {file.name for file in site_files(site, Wanted(tokens=True, keys=True))}
    assert whole == {*plain, "tokens.json", *FILES}
    assert list(left_out(site, Wanted(tokens=True, keys=True))) == []


def test_what_lies_elsewhere_is_refused(site: Site, tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    above = SITE.replace("models/plain", "../models/plain").encode()
    (tmp_path / "inner/site.toml").write_bytes(above)
    with pytest.raises(InputError, match="lies outside"):
        site_files(parse_site(above, tmp_path / "inner/site.toml"), Wanted())


def test_the_extras_are_those_of_its_tables(site: Site) -> None:
    assert extras_of(site) == ["mqtt", "vault"]
    assert extras_of(parse_site(SITE.encode(), site.file)) == []


def test_packages_are_what_a_node_needs_and_no_more() -> None:
    lock = (Path(__file__).parents[3] / "locks/node.txt").read_text()
    locked = {line.partition("==")[0] for line in lock.splitlines() if line[:1].isalnum()}
    bare = {package.name.lower(): package for package in packages([])}
    assert bare.keys() - {"littoral"} == locked - {"colorama"}
    assert "eclipse-zenoh" in {package.name for package in packages(["mesh"])}
    names = [file.name for file in bare["littoral"].files]
    assert {"littoral/__main__.py", "littoral/py.typed", "littoral/runtime/builtin/image.wasm"} <= set(names)
    assert [name for package in bare.values() for file in package.files if ".pyc" in (name := file.name)] == []
    glibc = fit_of(bare.values()).glibc
    assert (2, 17) <= glibc <= (2, 40)


def test_a_package_that_was_changed_or_is_missing_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="package `nothing-of-this-name` is not installed"):
        _with_requirement(monkeypatch, "nothing-of-this-name")
    home = tmp_path / "lib"
    info = home / "small-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: small\nVersion: 1.0\n")
    (info / "RECORD").write_text("small.py,sha256=47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU,0\n")
    (home / "small.py").write_text("")
    monkeypatch.syspath_prepend(home)
    assert "small" in {package.name for package in _with_requirement(monkeypatch, "small")}
    (home / "small.py").write_text("changed = True\n")
    with pytest.raises(TrustError, match=r"small\.py` is not as its wheel brought it: sha256 is "):
        _with_requirement(monkeypatch, "small")


def _with_requirement(monkeypatch: pytest.MonkeyPatch, name: str) -> object:
    import importlib.metadata

    real = importlib.metadata.Distribution.requires
    with monkeypatch.context() as patch:
        patch.setattr(
            importlib.metadata.Distribution,
            "requires",
            property(lambda self: [*(real.fget(self) or ()), name] if self.metadata["Name"] == "littoral" else []),
        )
        return packages([])
