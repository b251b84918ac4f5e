"""What the operator of a node with tenants sees and does: doctor, metrics, `top`, backups, models that are replaced."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from littoral import settings
from littoral.cli.top_samples import Look, parse_samples
from littoral.cli.top_tables import sections
from littoral.clock import SYSTEM
from littoral.errors import SettingError, UnauthorizedError
from littoral.node.access.roles import RIGHTS, Role
from littoral.node.backup.folder import Backups
from littoral.node.backup.restoring import restore
from littoral.node.backup.sending import sent
from littoral.node.backup.stopped import of_site, one_by_one, reader
from littoral.node.client import NodeClient
from littoral.node.site import read_site
from littoral.node.wiring import check_site
from littoral.web.access.access import Access
from littoral.web.access.tokens import TokenFile, new_token, write_tokens
from node_fixture import node_in_thread
from oip_site import scaled
from tenants_site import ACME, BOLT, OPERATOR, SITE, TENANTS, Tenanted, points, tenanted_node, write_tenants_site
from waiting import until

BACK = {"data/collections", "data/tenants/acme/collections", "data/tenants/bolt/collections"}


@pytest.fixture(scope="module")
def node() -> Iterator[Tenanted]:
    with tenanted_node() as found:
        for who, count in ((ACME, 3), (BOLT, 4)):
            body = points(count, of=who)
            assert found.ask(who, "PUT", "/collections/frames/points?wait=true", body).status == 200
        alias = {"actions": [{"create_alias": {"alias_name": "pictures", "collection_name": "frames"}}]}
        assert found.ask(ACME, "POST", "/collections/aliases", alias).status == 200
        yield found


def test_the_operator_sees_all_tenants(node: Tenanted) -> None:

    def counts() -> dict[str, int]:
        return {row["name"]: row["points"]["count"] for row in node.ask(OPERATOR, "GET", "/api/tenants").json}

    until(lambda: counts() == {ACME: 3, BOLT: 4})
    assert [row["name"] for row in node.ask(BOLT, "GET", "/api/tenants").json] == [BOLT]


def test_the_doctor_looks_at_their_shards(node: Tenanted) -> None:
    findings = node.ask(OPERATOR, "GET", "/api/doctor").json["findings"]
    shards = {row["subject"]: row["message"] for row in findings if row["check"] == "shard"}
    assert shards["collection frames of tenant acme"].startswith("3 points")
    assert shards["collection frames of tenant bolt"].startswith("4 points")


def test_top_has_a_row_for_each(node: Tenanted) -> None:

    def rows() -> list[tuple[Any, ...]]:
        now = parse_samples(node.ask(OPERATOR, "GET", "/metrics").body.decode())
        found = {section.title: section.rows for section in sections(Look(now, now, 1.0), [])}["tenants"]
        return [(row["name"], row["points"], row["refused_per_s"]) for row in found]

    until(lambda: rows() == [(ACME, 3, 0), (BOLT, 4, 0)])


def test_a_version_that_takes_over_does_so_for_tenants_too(node: Tenanted) -> None:
    """For models that they ask, and for pipelines that are bound to them."""
    given = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 3], "data": [1, 2, 3]}]}

    def answers() -> list[Any]:
        model = node.ask(BOLT, "POST", "/v2/models/scaled/infer", given)
        pipeline = node.ask(BOLT, "POST", "/pipelines/times", {"inputs": {"x": [[1, 2, 3]]}})
        return [model.json["outputs"][0]["data"], pipeline.json["result"]["outputs"]["y"]["data"][0]]

    assert answers() == [[2, 4, 6], [2, 4, 6]]
    scaled(10.0).save(node.folder / "scaled.wasm")
    assert node.ask(OPERATOR, "POST", "/v2/repository/models/scaled/load", {}).status == 200
    assert answers() == [[10, 20, 30], [10, 20, 30]]
    assert node.ask(OPERATOR, "POST", "/v2/repository/models/scaled/unload", {}).status == 200
    assert node.ask(BOLT, "POST", "/v2/models/scaled/infer", given).status == 503
    assert node.ask(OPERATOR, "POST", "/v2/repository/models/scaled/load", {}).status == 200
    assert answers() == [[10, 20, 30], [10, 20, 30]]


def test_a_backup_of_a_running_node_has_their_collections(node: Tenanted, tmp_path: Path) -> None:
    """Put together elsewhere, the node has them again, each under its tenant, with its aliases."""
    with (
        settings.override(LITTORAL_TOKEN=node.tokens[OPERATOR]),
        NodeClient(node.served.url).download("/api/backup?tokens=1") as read,
    ):
        made = Backups(tmp_path / "kept", None, SYSTEM).take(read)
    names = ["acme@frames", "acme@notes", "bolt@frames", "bolt@notes", "bolt@plans", "books", "notes"]
    assert made.manifest.collections == names
    again = restore(Backups(tmp_path / "kept", None, SYSTEM), tmp_path / "again")
    files = (tmp_path / "again").rglob("collection.json")
    assert {str(path.parent.parent.relative_to(tmp_path / "again")) for path in files} == BACK
    chunks = one_by_one(sent(read_site(again.site_file), of_site(read_site(again.site_file)), SYSTEM))
    assert Backups(tmp_path / "second", None, SYSTEM).take(reader(chunks)).manifest.collections == names
    with node_in_thread(tmp_path / "again", site=again.site_file) as served:
        restored = node._replace(served=served, folder=tmp_path / "again")
        for who, name, count in ((ACME, "pictures", 3), (BOLT, "frames", 4)):
            found = restored.ask(who, "POST", f"/collections/{name}/points/scroll", {"limit": 9}).json["result"]
            assert [point["payload"]["owner"] for point in found["points"]] == [who] * count


def test_a_pipeline_that_does_not_fit_a_tenants_collection_is_told_before_a_start(tmp_path: Path) -> None:
    wrong = TENANTS.replace("[tenants.collections.plans]", "[tenants.collections.notes]")
    site = read_site(write_tenants_site(tmp_path, wrong, SITE))
    with pytest.raises(SettingError, match=r"`pipelines.find`: .* 4"):
        check_site(site)


def test_a_guard_of_one_tenant_lets_no_other_in(tmp_path: Path) -> None:
    """Whatever led the request there."""
    made = {name: new_token("till", [Role.READ], SYSTEM.wall(), tenant=name) for name in (ACME, BOLT, "")}
    write_tokens(tmp_path / "tokens.json", [token for _, token in made.values()])
    access = Access(TokenFile(tmp_path / "tokens.json", SYSTEM), frozenset(), SYSTEM, [ACME, BOLT], rights=RIGHTS)
    for name, (text, _) in made.items():
        assert access.check_grpc("ModelReady", {"api-key": text}, "1.1.1.1")[0] == name
        for other in made:
            if other == name:
                assert access.holds(text, "1.1.1.1", other).tenant == name
            else:
                with pytest.raises(UnauthorizedError, match="the token is none of this node's"):
                    access.holds(text, "1.1.1.1", other)
