// Runs a model in ONNX Runtime Web on one thread: a line in is a run, a line out its milliseconds.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { createInterface } from "node:readline";

const [folder, path, name, ...dims] = process.argv.slice(2);
const ort = createRequire(`${folder}/`)("onnxruntime-web");
ort.env.wasm.numThreads = 1;
const session = await ort.InferenceSession.create(readFileSync(path), { executionProviders: ["wasm"] });
const shape = dims.map(Number);
const data = Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, i) => Math.sin(i));
const feeds = { [name]: new ort.Tensor("float32", data, shape) };
console.log("ready");
for await (const _ of createInterface({ input: process.stdin })) {
  const began = performance.now();
  await session.run(feeds);
  console.log(performance.now() - began);
}
