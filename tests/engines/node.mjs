// Node: node.mjs CASES OUT. The file is its own worker.
import { once } from "node:events";
import { readFileSync, writeFileSync } from "node:fs";
import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";
import { helper, run } from "./run.mjs";

async function help(module, memory, number) {
  await once(new Worker(new URL(import.meta.url), { workerData: { module, memory, number } }), "message");
}

if (isMainThread) {
  const [cases, out] = process.argv.slice(2);
  for (const one of JSON.parse(readFileSync(`${out}/plan.json`))) {
    const [wasm, input] = [one.module, one.input].map((name) => readFileSync(`${cases}/${name}`));
    writeFileSync(`${out}/${one.output}`, await run(wasm, one, input, help));
  }
} else {
  await helper(workerData, (word) => parentPort.postMessage(word));
}
