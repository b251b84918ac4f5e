"""The site file and the code in `docs/guides/gateway.md` work as they stand, with other addresses."""

import tomllib
from pathlib import Path

import pytest

from fake_upstream import Scripted, fake_upstream
from fenced import code_blocks
from littoral import settings
from littoral.node.site import parse_site
from node_fixture import node_in_thread
from supervised import short_folder
from tracked import ROOT

BLOCKS = list(code_blocks((ROOT / "docs/guides/gateway.md").read_text()))


def test_the_site_file_serves_an_unmodified_client(monkeypatch: pytest.MonkeyPatch) -> None:
    first, *_ = [block for language, block in BLOCKS if language == "toml"]
    monkeypatch.setenv("CLOUD_KEY", "sk-of-the-guide")
    with (
        fake_upstream() as cloud,
        fake_upstream() as beside,
        short_folder() as folder,
        settings.override(LITTORAL_STATE=str(folder / "state"), LITTORAL_CACHE=str(folder / "cache")),
    ):
        text = first.replace("https://api.example.com/v1", cloud.url).replace("http://10.0.0.7:8000/v1", beside.url)
        (folder / "site.toml").write_text(text.replace("[node]\n", '[node]\nlisten = "127.0.0.1:0"\n'))
        cloud.otherwise = beside.otherwise = Scripted("On the shelf.")
        with node_in_thread(folder, site=folder / "site.toml") as served:
            names: dict[str, object] = {}
            for block in (block for language, block in BLOCKS if language == "python"):
                exec(block.replace("http://127.0.0.1:8642", served.url), names)
            names["client"].close()  # type: ignore[attr-defined]
        assert names["answer"] == "On the shelf."
        assert names["first"] in (("miss", "cloud"), ("miss", "beside"))
        assert (names["again"], "".join(names["pieces"]), names["fresh"]) == ("hit", "On the shelf.", "off")  # type: ignore[arg-type]
        assert cloud.asked_count + beside.asked_count == 2
        assert {one.headers["authorization"] for one in cloud.asked} <= {"Bearer sk-of-the-guide"}
        assert {one.body["model"] for one in beside.asked} <= {"llama-3.1-8b"}


def test_the_tenants_are_as_the_node_takes_them(tmp_path: Path) -> None:
    first, tenants = [block for language, block in BLOCKS if language == "toml"]
    assert tomllib.loads(tenants)["tenants"][0]["gateway"]["models"] == ["gpt-4o-mini"]
    site = parse_site((first + tenants).encode(), tmp_path / "site.toml")
    assert site.gateway is not None
    assert [one.name for one in site.gateway.upstreams] == ["cloud", "beside"]
