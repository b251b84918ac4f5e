// Runs a model in ONNX Runtime Web on one thread: a line in is a run, a line out its milliseconds.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { createInterface } from "node:readline";

const [folder, path, ports] = process.argv.slice(2);
const ort = createRequire(`${folder}/`)("onnxruntime-web");
ort.env.wasm.numThreads = 1;
const session = await ort.InferenceSession.create(readFileSync(path), { executionProviders: ["wasm"] });
const feeds = {};
for (const { name, dtype, shape } of JSON.parse(ports)) {
  const length = shape.reduce((a, b) => a * b, 1);
  const data = dtype === "int64" ? new BigInt64Array(length).fill(1n) : Float32Array.from({ length }, (_, i) => Math.sin(i));
  feeds[name] = new ort.Tensor(dtype, data, shape);
}
console.log("ready");
for await (const _ of createInterface({ input: process.stdin })) {
  const began = performance.now();
  await session.run(feeds);
  console.log(performance.now() - began);
}
