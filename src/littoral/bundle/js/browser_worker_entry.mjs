// The Web Worker of a bundle: {id, picture} in, {id, vector} or {id, error} out; {loaded, total} while it loads.
import { sha256 } from "./digest.mjs";
import { Embedder } from "./embedder.mjs";
import { checkedPicture } from "./picture.mjs";
import { RECIPE } from "./recipe.mjs";

const PARTS = ["agent", "model"];
const total = PARTS.reduce((sum, part) => sum + RECIPE[part].file_bytes, 0);
let loaded = 0;
const loading = load();
loading.catch(({ message }) => postMessage({ failed: message }));

addEventListener("message", async ({ data: { id, picture } }) => {
  try {
    const embedder = await loading;
    const bytes = new Uint8Array(picture);
    checkedPicture(bytes, RECIPE.side_max);
    const vector = embedder.embed(bytes);
    postMessage({ id, vector }, [vector.buffer]);
  } catch ({ status = 500, message }) {
    postMessage({ id, error: { status, message } });
  }
});

async function load() {
  const [agent, model] = await Promise.all(PARTS.map(compiled));
  const embedder = new Embedder(agent, model, RECIPE);
  embedder.start();
  postMessage({ ready: true });
  return embedder;
}

/** Every byte is held against its digest before it is compiled. */
async function compiled(part) {
  const bytes = await fetched(new URL(`./${part}.wasm`, import.meta.url), RECIPE[part].file_bytes);
  const found = await sha256(bytes);
  if (found !== RECIPE[part].sha256) throw new Error(`${part}.wasm: SHA-256 is ${found}, expected ${RECIPE[part].sha256}`);
  return WebAssembly.compile(bytes);
}

async function fetched(address, length) {
  const answer = await fetch(address);
  if (!answer.ok) throw new Error(`${address}: status ${answer.status}`);
  const bytes = new Uint8Array(length);
  const reader = answer.body.getReader();
  let at = 0;
  for (let part = await reader.read(); !part.done; part = await reader.read()) {
    if (at + part.value.length > length) throw new Error(`${address}: more than ${length} bytes`);
    bytes.set(part.value, at);
    at += part.value.length;
    loaded += part.value.length;
    postMessage({ loaded, total });
  }
  return bytes.subarray(0, at);
}
