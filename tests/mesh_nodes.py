"""Site files of nodes of one site on this machine, with certificates, for real processes."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from mesh_certificates import Authority
from ports import free_ports

SITE = """
[node]
name = "{name}"
listen = "127.0.0.1:0"
data = "data"
[mesh]
site = "shop"
listen = "127.0.0.1:{port}"
peers = {{ {peers} }}
deadline_ms = {deadline_ms}
move_bytes_s = {move_bytes_s}
transport = "{transport}"
authority = "{ca}"
certificate = "{certificate}"
key = "{key}"
{regions}
[collections.points]
vectors = {{ size = {size}, distance = "{distance}" }}
spread = {{ {spread} }}
{more}
"""


def write_mesh_sites(
    folder: Path,
    names: Sequence[str],
    *,
    spread: str = "shards = 3, replicas = 1",
    size: int = 8,
    distance: str = "Euclid",
    deadline_ms: int = 1000,
    transport: str = "quic",
    move_bytes_s: int = 8 << 20,
    regions: Mapping[str, str] | None = None,
    more: str = "",
) -> dict[str, Path]:
    """The site file of each node, in a folder of its own. regions: of the nodes. more: further tables."""
    authority = Authority(folder / "ca")
    ports = dict(zip(names, free_ports(len(names)), strict=True))
    files = {}
    for name in names:
        credentials = authority.issue(name)
        peers = ", ".join(f'{other} = "127.0.0.1:{ports[other]}"' for other in names if other != name)
        own = folder / name
        own.mkdir()
        files[name] = own / "site.toml"
        files[name].write_text(
            SITE.format(
                name=name,
                port=ports[name],
                peers=peers,
                deadline_ms=deadline_ms,
                transport=transport,
                move_bytes_s=move_bytes_s,
                regions=_regions(name, regions or {}),
                more=more,
                ca=credentials.ca,
                certificate=credentials.certificate,
                key=credentials.key,
                size=size,
                distance=distance,
                spread=spread,
            )
        )
    return files


def _regions(name: str, regions: Mapping[str, str]) -> str:
    others = ", ".join(f'{other} = "{region}"' for other, region in regions.items() if other != name)
    return f'region = "{regions[name]}"\nregions = {{ {others} }}' if regions else ""
