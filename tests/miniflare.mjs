// Serves a bundle with a KV namespace: miniflare.mjs INSTALLED BUNDLE STORE BINDINGS. A line in is a question: `keys`.
import { createRequire } from "node:module";
import { createInterface } from "node:readline";

const [installed, bundle, kvPersist, bindings] = process.argv.slice(2);
const { Miniflare } = createRequire(`${installed}/`)("miniflare");
const modules = [
  { type: "ESModule", path: `${bundle}/worker.mjs` },
  { type: "CompiledWasm", path: `${bundle}/agent.wasm` },
  { type: "CompiledWasm", path: `${bundle}/model.wasm` },
];
const options = { modulesRoot: bundle, modules, compatibilityDate: "2026-01-01", kvNamespaces: ["EMBEDDINGS"], kvPersist };
const miniflare = new Miniflare({ ...options, port: 0, bindings: JSON.parse(bindings) });
console.log((await miniflare.ready).host);
const kv = await miniflare.getKVNamespace("EMBEDDINGS");
for await (const line of createInterface({ input: process.stdin })) {
  const [verb, key, value] = line.split(" ");
  if (verb === "put") await kv.put(key, value);
  console.log(JSON.stringify((await kv.list()).keys.map(({ name }) => name)));
}
await miniflare.dispose();
