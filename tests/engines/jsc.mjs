// JavaScriptCore's shell: jsc -m jsc.mjs -- CASES OUT
import { run } from "./run.mjs";

const [cases, out] = globalThis.arguments;
for (const one of JSON.parse(readFile(`${out}/plan.json`))) {
  const [wasm, input] = [one.module, one.input].map((name) => new Uint8Array(readFile(`${cases}/${name}`, "binary")));
  writeFile(`${out}/${one.output}`, await run(wasm, one, input));
}
