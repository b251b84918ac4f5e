"""Where a pipeline can go: `TARGETS`, by what `--for` calls them."""

from collections.abc import Mapping

from littoral.bundle.browser import plan_browser
from littoral.bundle.device import plan_device
from littoral.bundle.node_package import plan_node
from littoral.bundle.plan import Target
from littoral.bundle.workers import plan_workers

__all__ = ["TARGETS"]

TARGETS: Mapping[str, Target] = {
    "workers": Target("a V8 isolate of a CDN: one ES module, workerd and wrangler configurations", plan_workers),
    "node": Target("Node 22 or newer: a package folder without dependencies, with a server", plan_node),
    "browser": Target("a page: component and module with a Web Worker, usable without a network", plan_browser),
    "device": Target("an interpreter without SIMD: modules, hosts in C (wasm3) and Rust (wasmi)", plan_device),
}
