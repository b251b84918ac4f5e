"""Where a pipeline can go: `TARGETS`, by what `--for` calls them."""

from collections.abc import Mapping

from littoral.bundle.device import plan_device
from littoral.bundle.plan import Target
from littoral.bundle.workers import plan_workers

__all__ = ["TARGETS"]

TARGETS: Mapping[str, Target] = {
    "workers": Target("a V8 isolate of a CDN: one ES module, workerd and wrangler configurations", plan_workers),
    "device": Target("an interpreter without SIMD: modules, hosts in C (wasm3) and Rust (wasmi)", plan_device),
}
