# ENDPOINTS='[{"url": "http://127.0.0.1:6333"}]' workerd serve workerd.capnp
using Workerd = import "/workerd/workerd.capnp";

const config :Workerd.Config = (
  # In megabytes. With room for more V8 would leave what requests leave behind until it is several times as much.
  v8Flags = ["--initial-old-space-size=8", "--max-old-space-size=20", "--max-semi-space-size=1"],
  services = [
    (name = "main", worker = .main),
    (name = "internet", network = (allow = ["public", "private"], tlsOptions = (trustBrowserCas = true))),
  ],
  sockets = [(name = "http", address = "127.0.0.1:8787", http = (), service = "main")],
);

const main :Workerd.Worker = (
  compatibilityDate = "$date",
  modules = [
    (name = "worker.mjs", esModule = embed "worker.mjs"),
    $modules,
  ],
  bindings = [
    $bindings,
  ],
);
