"""The one door to wasmtime: engines, modules, machine-code cache."""
