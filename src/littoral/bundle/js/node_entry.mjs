import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { Readable } from "node:stream";
import { sha256 } from "./digest.mjs";
import { Embedder } from "./embedder.mjs";
import { checkedPicture } from "./picture.mjs";
import { RECIPE } from "./recipe.mjs";
import { Service } from "./service.mjs";

/**
 * Loads both modules, whose every byte is held against its digest.
 * @param {Record<string, unknown>} [bindings] as in README.md; `EMBEDDINGS` may be anything with KV's `get` and `put`
 */
export async function open(bindings = {}) {
  const [agent, model] = await Promise.all(["agent", "model"].map(compiled));
  const embedder = new Embedder(agent, model, RECIPE);
  embedder.start();
  const service = new Service(embedder, RECIPE);
  return {
    /** @param {Uint8Array} picture JPEG or PNG @returns {Float32Array} */
    embed(picture) {
      checkedPicture(picture, RECIPE.side_max);
      return embedder.embed(picture);
    },
    /** @param {Request} request @returns {Promise<Response>} */
    fetch: (request) => service.answer(request, bindings, () => {}),
    get memoryBytes() {
      return embedder.memoryBytes;
    },
  };
}

/**
 * Serves the routes over HTTP.
 * @param {Record<string, unknown>} [bindings]
 * @param {{host?: string, port?: number}} [where] port 0 = any free one
 * @returns {Promise<import("node:http").Server>} that listens
 */
export async function serve(bindings = {}, { host = "127.0.0.1", port = 8787 } = {}) {
  const opened = await open(bindings);
  const server = createServer((incoming, outgoing) => {
    answer(opened, incoming, outgoing).catch((error) => outgoing.destroy(error));
  });
  await new Promise((resolve, reject) => server.once("error", reject).listen(port, host, resolve));
  return server;
}

async function compiled(part) {
  const bytes = await readFile(new URL(`./${part}.wasm`, import.meta.url));
  const found = await sha256(bytes);
  if (found !== RECIPE[part].sha256) throw new Error(`${part}.wasm: SHA-256 is ${found}, expected ${RECIPE[part].sha256}`);
  return WebAssembly.compile(bytes);
}

async function answer(opened, incoming, outgoing) {
  const { method, headers, url } = incoming;
  const pairs = Object.entries(headers).flatMap(([name, values]) => [values].flat().map((value) => [name, value]));
  const body = method === "GET" || method === "HEAD" ? undefined : Readable.toWeb(incoming);
  const address = new URL(url.replace(/^\/*/, "/"), "http://localhost");
  const response = await opened.fetch(new Request(address, { method, headers: pairs, body, duplex: "half" }));
  const data = new Uint8Array(await response.arrayBuffer());
  outgoing.writeHead(response.status, { ...Object.fromEntries(response.headers), "content-length": data.length });
  outgoing.end(data);
}
