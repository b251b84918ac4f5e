"""Site files of real nodes over which notes are spread, with certificates of one authority."""

from pathlib import Path

from littoral.node.beside import RunningNode
from ports import free_ports
from raw_http import send
from spread_notes import site_text

NAMES = ("a", "b", "c")
MESH = """
[mesh]
site = "shop"
listen = "127.0.0.1:{port}"
peers = {{ {peers} }}
authority = "{ca}"
certificate = "{certificate}"
key = "{key}"
deadline_ms = 5000
"""
SPREAD = 'strategy = "hash", shards = 3, replicas = 2, recall = 1.0'


def site_texts(folder: Path, migrate: str, tables: str = "") -> dict[str, str]:
    from mesh_certificates import Authority

    authority, ports = Authority(folder / "ca"), dict(zip(NAMES, free_ports(len(NAMES)), strict=True))
    texts = {}
    for name in NAMES:
        own = authority.issue(name)
        peers = ", ".join(f'{other} = "127.0.0.1:{ports[other]}"' for other in NAMES if other != name)
        mesh = MESH.format(port=ports[name], peers=peers, ca=own.ca, certificate=own.certificate, key=own.key)
        texts[name] = site_text(name, NAMES, mesh=mesh, spread=SPREAD, migrate=migrate, tables=tables)
    return texts


def is_whole(node: RunningNode) -> bool:
    told = send(node.address, "GET", "/api/mesh").json
    return not told["lacking"] and all(member["is_here"] for member in told["members"])
