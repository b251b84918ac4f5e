"""`littoral doctor` of a site: asks the node of a site file what is wrong among the nodes, as it sees them."""

from collections.abc import Iterator
from pathlib import Path

from littoral.cli.mesh_members import ask_mesh
from littoral.errors import DeadlineError, LittoralError, UnavailableError
from littoral.node.doctor.mesh import examine_mesh
from littoral.node.site import Site, read_site
from littoral.telemetry.findings import Finding, Status

__all__ = ["examine_site", "has_own_certificate"]

ANY_HOSTS = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}  # noqa: S104 (told, not bound)


def has_own_certificate(place: Path) -> bool:
    """Whether the place is a site file that names its certificate: then there is no identity to look at."""
    if place.suffix != ".toml":
        return False
    mesh = read_site(place).mesh
    return mesh is not None and mesh.certificate is not None


def examine_site(place: Path) -> Iterator[Finding]:
    """Nothing for a data folder, and for a site file without the table `mesh`."""
    if place.suffix != ".toml" or (site := read_site(place)).mesh is None:
        return
    url = _url(site)
    if url is None:
        yield Finding("site", site.node.name, Status.WARN, "its port is not fixed: ask `littoral mesh status --url`")
        return
    try:
        _, told = ask_mesh(url)
    except (UnavailableError, DeadlineError) as error:
        yield Finding("site", url, Status.WARN, f"its site cannot be looked at: {error.message}", error.hint)
        return
    except LittoralError as error:
        yield Finding("site", url, Status.FAIL, error.message, error.hint)
        return
    yield from examine_mesh(told)


def _url(site: Site) -> str | None:
    """None for a port that is chosen at the start."""
    host, port = site.listen
    shown = ANY_HOSTS.get(host, f"[{host}]" if ":" in host else host)
    return None if port == 0 else f"{site.scheme}://{shown}:{port}"
