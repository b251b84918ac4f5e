// The Web Worker of a bundle: {id, input, wants} in, {id, answer} or {id, error} out; {loaded, total} while it loads.
import { Chain } from "./chain.mjs";
import { sha256 } from "./digest.mjs";
import { inputOf } from "./inputs.mjs";
import { RECIPE } from "./recipe.mjs";

const total = Object.values(RECIPE.files).reduce((sum, { bytes }) => sum + bytes, 0);
let loaded = 0;
const loading = load();
loading.catch(({ message }) => postMessage({ failed: message }));

addEventListener("message", async ({ data: { id, input, wants } }) => {
  try {
    const chain = await loading;
    const given = inputOf(new Uint8Array(input), RECIPE.takes, RECIPE.side_max);
    postMessage({ id, answer: wants === "vector" ? chain.embed(given) : chain.run(given) });
  } catch ({ status = 500, message }) {
    postMessage({ id, error: { status, message } });
  }
});

async function load() {
  const chain = new Chain(Object.fromEntries(await Promise.all(Object.keys(RECIPE.files).map(checked))), RECIPE);
  chain.start();
  postMessage({ ready: true });
  return chain;
}

/** Every byte is held against its digest before it is compiled. */
async function checked(name) {
  const wanted = RECIPE.files[name];
  const bytes = await fetched(new URL(`./${name}`, import.meta.url), wanted.bytes);
  const found = await sha256(bytes);
  if (found !== wanted.sha256) throw new Error(`${name}: SHA-256 is ${found}, expected ${wanted.sha256}`);
  return [name, name.endsWith(".wasm") ? await WebAssembly.compile(bytes) : bytes];
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
