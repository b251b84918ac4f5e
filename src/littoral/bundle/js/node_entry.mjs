import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { Readable } from "node:stream";
import { Chain } from "./chain.mjs";
import { sha256 } from "./digest.mjs";
import { inputOf } from "./inputs.mjs";
import { RECIPE } from "./recipe.mjs";
import { Service } from "./service.mjs";

/**
 * Loads all guests, whose every byte is held against its digest.
 * @param {Record<string, unknown>} [bindings] as in README.md; `EMBEDDINGS` may be anything with KV's `get` and `put`
 */
export async function open(bindings = {}) {
  const files = Object.fromEntries(await Promise.all(Object.keys(RECIPE.files).map(loaded)));
  const chain = new Chain(files, RECIPE);
  chain.start();
  const service = new Service(chain, RECIPE);
  return {
    /** @param {Uint8Array} input @returns {Float32Array} */
    embed: (input) => chain.embed(inputOf(input, RECIPE.takes, RECIPE.side_max)),
    /** @param {Uint8Array} input @returns bytes, tensors or hits, as the steps before the search make them */
    run: (input) => chain.run(inputOf(input, RECIPE.takes, RECIPE.side_max)),
    /** @param {Request} request @returns {Promise<Response>} */
    fetch: (request) => service.answer(request, bindings, () => {}),
    get memoryBytes() {
      return chain.memoryBytes;
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

async function loaded(name) {
  const bytes = await readFile(new URL(`./${name}`, import.meta.url));
  const found = await sha256(bytes);
  if (found !== RECIPE.files[name].sha256) throw new Error(`${name}: SHA-256 is ${found}, expected ${RECIPE.files[name].sha256}`);
  return [name, name.endsWith(".wasm") ? await WebAssembly.compile(bytes) : bytes];
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
