// Node: node.mjs CASES OUT
import { readFileSync, writeFileSync } from "node:fs";
import { run } from "./run.mjs";

const [cases, out] = process.argv.slice(2);
for (const one of JSON.parse(readFileSync(`${out}/plan.json`))) {
  const [wasm, input] = [one.module, one.input].map((name) => readFileSync(`${cases}/${name}`));
  writeFileSync(`${out}/${one.output}`, await run(wasm, one, input));
}
