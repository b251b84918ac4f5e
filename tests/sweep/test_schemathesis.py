"""schemathesis asks a node about every route, Qdrant's too, at length."""

from described_node import described_node


def test_nothing_is_other_than_described() -> None:
    with described_node() as node:
        found = node.asked("--max-examples", "40")
    assert found.returncode == 0, found.stdout[-20_000:] + found.stderr[-2000:]
