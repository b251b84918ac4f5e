"""`--for workers`: one ES module, the `.wasm` files beside it, and configurations of workerd and wrangler."""

import json
from collections.abc import Iterator, Mapping

from littoral.bundle.chain import Chain, chain_of, guide_words, version_of
from littoral.bundle.chain_module import SIDE_MAX, module_of
from littoral.bundle.link import linked
from littoral.bundle.plan import Finding, Options, Plan, gzip_bytes
from littoral.bundle.recipe import Recipe
from littoral.bundle.texts import bindings_text, filled

__all__ = ["BINDINGS", "plan_workers"]

ENTRY = "workers_entry.mjs"
SWITCH = "switch_entry.mjs"
SIZES_MAX = {"packed": 10_000_000, "packed, for smaller plans": 5_000_000, "as it is": 50_000_000}
BOUND = "packed"
MEMORY_BYTES_MAX = 128_000_000
BINDINGS = (
    "ENDPOINTS", "QDRANT_API_KEY", "TENANTS", "METRICS_TOKEN", "ALLOW_ORIGINS", "DEADLINE_MS", "HEDGE_MS",
    "RESULT_TTL_S", "EMBEDDING_TTL_S", "BODY_BYTES_MAX", "BODY_DEADLINE_MS", "SIDE_MAX",
)  # fmt: skip
"""Text that the module reads; `EMBEDDINGS` is a namespace."""


def plan_workers(recipe: Recipe, options: Options) -> Plan:
    """One module without dependencies for a V8 isolate, and what its platforms are told."""
    chain = chain_of(recipe, options.sample)
    deployed = {"worker.mjs": module_of(ENTRY, chain, options, {"files.mjs": _imports(chain)}), **chain.files}
    facts = {"version": version_of(chain), "digest": chain.digest}
    return Plan(deployed | _about(chain, options, recipe), tuple(_findings(chain, deployed, options)), facts)


def _imports(chain: Chain) -> str:
    """A module that has the other files by name."""
    names = {f"file{i}": name for i, name in enumerate(chain.files)}
    imports = "".join(f'import {value} from "./{name}";\n' for value, name in names.items())
    entries = ", ".join(f'"{name}": {value}' for value, name in names.items())
    return f"{imports}\nconst FILES = {{ {entries} }};\n"


def _embedded(name: str) -> str:
    kind = "wasm" if name.endswith(".wasm") else "data"
    return f'(name = "{name}", {kind} = embed "{name}")'


def _about(chain: Chain, options: Options, recipe: Recipe) -> dict[str, bytes]:
    bindings = ",\n    ".join(f'(name = "{name}", fromEnvironment = "{name}")' for name in BINDINGS)
    modules = ",\n    ".join(map(_embedded, chain.files))
    endpoints = json.dumps([{"url": f"http://{recipe.site.listen}"}])
    service = chain.pipeline.lower().replace("_", "-")
    return {
        "wrangler.toml": filled("wrangler.toml", service=service, endpoints=endpoints),
        "workerd.capnp": filled("workerd.capnp", bindings=bindings, modules=modules),
        "README.md": filled("workers.md", bindings=bindings_text(options.side_max or SIDE_MAX), **guide_words(chain)),
        "switch.mjs": linked(SWITCH, {}).encode(),
        "switch.toml": filled("switch.toml", service=service),
        "switch.capnp": filled("switch.capnp"),
        "deploy.yml": filled("deploy.yml", pipeline=chain.pipeline),
    }


def _findings(chain: Chain, deployed: Mapping[str, bytes], options: Options) -> Iterator[Finding]:
    packed = sum(map(gzip_bytes, deployed.values()))
    plain = sum(map(len, deployed.values()))
    for what, most in SIZES_MAX.items():
        yield Finding(what, packed if what.startswith("packed") else plain, most, "bytes", is_bound=what == BOUND)
    if options.size_bytes_max is not None:
        yield Finding("packed, `--size-mb`", packed, options.size_bytes_max, "bytes")
    yield Finding("memory of the guests", chain.memory_bytes, MEMORY_BYTES_MAX, "bytes")
