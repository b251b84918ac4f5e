"""schemathesis asks a node with tokens all that its OpenAPI document says of its own routes, right and wrong.

Statuses, media types and schemas of answers, what is refused and what is not, tokens, methods. Qdrant's routes:
`tests/sweep/test_schemathesis.py`, which leaves nothing out.
"""

from described_node import described_node

SLOW = ("/api/doctor", "/api/examined", "/api/compared")
"""Each answer takes a process of its own, or looks at all that there is."""


def test_nothing_is_other_than_described() -> None:
    with described_node() as node:
        found = node.asked("--exclude-tag", "qdrant", "--max-examples", "1", without=SLOW)
    assert found.returncode == 0, found.stdout[-8000:] + found.stderr[-2000:]
    assert "Tested: " in found.stdout
