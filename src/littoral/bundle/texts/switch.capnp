# Two bundles in the folders `current` and `next`, this file in one of them: SHARE=10 workerd serve switch.capnp
using Workerd = import "/workerd/workerd.capnp";
using Current = import "../current/workerd.capnp";
using Next = import "../next/workerd.capnp";

const config :Workerd.Config = (
  # In megabytes. With room for more V8 would leave what requests leave behind until it is several times as much.
  v8Flags = ["--initial-old-space-size=8", "--max-old-space-size=20", "--max-semi-space-size=1"],
  services = [
    (name = "switch", worker = .switch),
    (name = "current", worker = Current.main),
    (name = "next", worker = Next.main),
    (name = "internet", network = (allow = ["public", "private"], tlsOptions = (trustBrowserCas = true))),
  ],
  sockets = [(name = "http", address = "127.0.0.1:8787", http = (), service = "switch")],
);

const switch :Workerd.Worker = (
  compatibilityDate = "$date",
  modules = [(name = "switch.mjs", esModule = embed "switch.mjs")],
  bindings = [
    (name = "CURRENT", service = "current"),
    (name = "NEXT", service = "next"),
    (name = "SHARE", fromEnvironment = "SHARE"),
  ],
);
