// A browser's worker: reads the cases from the server of the page, and posts what comes out. The file is its own worker.
import { helper, run } from "/run.mjs";

const AT_ONCE = 4;
const read = async (name) => new Uint8Array(await (await fetch(name)).arrayBuffer());
const post = async (name, body) => {
  const answer = await fetch(name, { method: "POST", body });
  if (!answer.ok) throw new Error(`${name}: ${answer.status}`);
};

async function help(module, memory, number) {
  const worker = new Worker("/page.mjs?help", { type: "module" });
  await new Promise((ready, failed) => {
    worker.onerror = failed;
    worker.onmessage = ({ data }) => (data === "loaded" ? worker.postMessage({ module, memory, number }) : ready());
  });
}

async function all() {
  const cases = await (await fetch("/plan.json")).json();
  const work = async () => {
    for (let one; (one = cases.pop()); ) {
      const [wasm, input] = await Promise.all([read(one.module), read(one.input)]);
      await post(one.output, await run(wasm, one, input, help));
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
}

if (new URL(import.meta.url).search) {
  onmessage = async ({ data }) => {
    await helper(data, postMessage);
    close();
  };
  postMessage("loaded");
} else {
  try {
    await all();
    await post("/done", "");
  } catch (error) {
    await post("/done", `${error?.message ?? error}`);
  }
}
