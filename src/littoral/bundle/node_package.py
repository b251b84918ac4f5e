"""`--for node`: a package folder without dependencies for Node 22 and newer."""

import json

from littoral.bundle.chain import Chain, chain_of, guide_words, version_of
from littoral.bundle.chain_module import SIDE_MAX, module_of
from littoral.bundle.plan import Finding, Options, Plan, gzip_bytes
from littoral.bundle.recipe import Recipe
from littoral.bundle.texts import bindings_text, filled

__all__ = ["plan_node"]

ENTRY = "node_entry.mjs"
PACKED_BYTES_MAX = 50_000_000


def plan_node(recipe: Recipe, options: Options) -> Plan:
    """A module that loads the pipeline and serves it, with its types, and a server to start."""
    chain = chain_of(recipe, options.sample)
    name = chain.pipeline.lower()
    bindings = bindings_text(options.side_max or SIDE_MAX)
    files = {
        "index.mjs": module_of(ENTRY, chain, options),
        "index.d.ts": filled("index.d.ts"),
        "server.mjs": filled("node-server.mjs"),
        **chain.files,
        "package.json": _package(chain, name),
        "README.md": filled("node.md", package=name, bindings=bindings, **guide_words(chain)),
    }
    packed = sum(map(gzip_bytes, files.values()))
    most = PACKED_BYTES_MAX if options.size_bytes_max is None else options.size_bytes_max
    facts = {"version": version_of(chain), "digest": chain.digest}
    return Plan(files, (Finding("packed", packed, most, "bytes"),), facts)


def _package(chain: Chain, name: str) -> bytes:
    told = {
        "name": name,
        "version": "0.0.0",
        "description": f"Pipeline {chain.pipeline}, version {version_of(chain)}",
        "private": True,
        "type": "module",
        "engines": {"node": ">=22"},
        "exports": {".": {"types": "./index.d.ts", "default": "./index.mjs"}},
    }
    return (json.dumps(told, indent=2) + "\n").encode()
