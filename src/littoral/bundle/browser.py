"""`--for browser`: a page component and a module, with a Web Worker and files for use without a network."""

import json

from littoral.bundle.chain import chain_of, guide_words, version_of
from littoral.bundle.chain_module import module_of
from littoral.bundle.plan import Finding, Options, Plan, gzip_bytes
from littoral.bundle.recipe import Recipe
from littoral.bundle.texts import filled

__all__ = ["plan_browser"]

SIDE_MAX = 8192  # what cameras of phones give
PACKED_BYTES_MAX = 10_000_000
INVITES = {
    "picture": "Choose a picture, drop one here, or take one. It is worked on in this browser and never sent anywhere",
    "text": "Type a text. It is worked on in this browser and never sent anywhere",
}
EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104  compared with, not listened at


def plan_browser(recipe: Recipe, options: Options) -> Plan:
    """Everything that is fetched, and a page that uses it."""
    chain = chain_of(recipe, options.sample)
    if chain.takes.kind not in INVITES:
        raise recipe.refusal(f"takes {chain.takes.kind}, a page asks for a picture or a text", "`--for node`")
    options = options._replace(side_max=options.side_max or SIDE_MAX)
    vector = "; its vector is." if chain.search else "."
    words = {**guide_words(chain), "invite": INVITES[chain.takes.kind] + vector}
    used = {
        "littoral-similar.mjs": module_of("browser_entry.mjs", chain, options),
        "worker.mjs": module_of("browser_worker_entry.mjs", chain, options),
        **chain.files,
        "index.html": filled("index.html", **words, **_node(recipe)),
        "page.css": filled("page.css"),
        "page.mjs": filled("page.mjs", **words),
        "page.webmanifest": filled("page.webmanifest", **words),
    }
    kept = {
        "version": f"{chain.pipeline}/{version_of(chain)}",
        "files": json.dumps([f"./{name}" for name in ("", *used)]),
        "pipeline": chain.pipeline,
    }
    files = used | {"offline.js": filled("offline.js", **kept), "README.md": filled("browser.md", **words)}
    packed = sum(map(gzip_bytes, used.values()))
    most = PACKED_BYTES_MAX if options.size_bytes_max is None else options.size_bytes_max
    facts = {"version": version_of(chain), "digest": chain.digest}
    return Plan(files, (Finding("packed", packed, most, "bytes"),), facts)


def _node(recipe: Recipe) -> dict[str, str]:
    """Whom the page asks: the node of the site file, or its own address where that is not known before it runs."""
    listen = recipe.site.listen
    if listen.port == 0 or listen.host in EVERYWHERE:
        return {"node": "", "attribute": ""}
    return {"node": f"http://{listen}", "attribute": f' node="http://{listen}"'}
