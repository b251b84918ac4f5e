"""The pages of a fleet: `/`, `/pages/…` and their files."""

from collections.abc import Mapping

from littoral.errors import NotFoundError
from littoral.web import Answer, PageAssets, Protocol, Request, Route
from littoral.web.page_frames import Frame, framed, outlined

__all__ = ["FRAME", "PAGES", "fleet_page_texts", "page_protocol"]

HOME = ""
PAGES: Mapping[str, Mapping[str, str]] = {
    HOME: {"map": "Map", "nodes": "Nodes"},
    "rollouts": {"rollouts": "Rollouts", "next": "Start a rollout"},
    "registry": {"uploads": "Bring a model", "registry": "Registry", "lineage": "Lineage"},
    "groups": {"groups": "Groups", "group": "A new group"},
    "claims": {"claim": "New claims", "claims": "Claims"},
    "inference": {"inference": "Steps for sites", "centre": "Nodes of the data centre", "callers": "Asked for by"},
    "audit": {"audit": "Audit"},
    "node": {"node": "Node", "running": "Runs, and should run", "history": "History", "asks": "Ask it"},
}
"""Below `/pages`, in the order of the bar: titles of panels by their ids. A node's has no link of its own."""
TITLES = {
    HOME: "Fleet",
    "rollouts": "Rollouts",
    "registry": "Registry",
    "groups": "Groups",
    "claims": "Claims",
    "inference": "Inference",
    "audit": "Audit",
}
STYLES = ("tokens", "elements", "shell", "parts", "search", "panels", "pages", "fleet")
FRAME = Frame(
    "A Littoral orchestrator: its fleet's nodes, rollouts and registry",
    {f"/pages/{page}" if page else "/": title for page, title in TITLES.items()},
    "js/fleet/main.js",
    tuple(f"css/{name}.css" for name in STYLES),
    "/api/fleet",
)


def fleet_page_texts(assets: PageAssets) -> dict[str, str]:
    """HTML of each page, by its name."""
    common = framed(assets, FRAME)
    return {
        page: outlined(
            common, f"/pages/{page}" if page in TITLES and page else "/", panels, title=TITLES.get(page, "Node")
        )
        for page, panels in PAGES.items()
    }


def page_protocol() -> Protocol:
    """Who may read them is anybody: they hold nothing of the fleet."""
    assets = PageAssets()
    files = assets.names()
    for name, text in fleet_page_texts(assets).items():
        assets.put(f"pages/{name or 'fleet'}.html", text)

    async def root(request: Request) -> Answer:
        return assets.answer("pages/fleet.html", request)

    async def page(request: Request) -> Answer:
        name = request.names["page"]
        if not name or name not in PAGES:
            raise NotFoundError(f"page `{name[:80]}` is unknown, known: {', '.join(filter(None, PAGES))}")
        return assets.answer(f"pages/{name}.html", request)

    def file_route(name: str) -> Route:
        async def answer(request: Request) -> Answer:
            return assets.answer(name, request)

        return Route("GET", f"/assets/{name}", answer, label="/assets/{file}")

    routes = [Route("GET", "/", root), Route("GET", "/pages/{page}", page), *map(file_route, files)]
    return Protocol(("/assets", "/pages"), routes)
