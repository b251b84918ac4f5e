# ENDPOINTS='[{"url": "http://127.0.0.1:6333"}]' workerd serve workerd.capnp
using Workerd = import "/workerd/workerd.capnp";

const config :Workerd.Config = (
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
