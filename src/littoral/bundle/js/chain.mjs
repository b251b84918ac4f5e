import { sha256 } from "./digest.mjs";
import { tensorsOf } from "./frame.mjs";
import { Refusal } from "./refusal.mjs";
import { stageOf } from "./stages.mjs";
import { valuesOf } from "./tensors.mjs";

/**
 * @typedef {object} Digests
 * @property {string} manifest SHA-256 of the section with the manifest
 * @property {[number, number]} constants address and bytes of what the file puts into memory
 * @property {string} memory SHA-256 of that
 */

/**
 * The steps of a pipeline before its search, one behind the other. One request after the other, each without a pause, so
 * that requests under way at the same time never meet in a guest's memory.
 */
export class Chain {
  #recipe;
  #stages;
  #verified = null;

  /**
   * @param {Record<string, WebAssembly.Module | ArrayBuffer>} files by name
   * @param {typeof import("./recipe.mjs").RECIPE} recipe
   */
  constructor(files, recipe) {
    this.#recipe = recipe;
    this.#stages = recipe.stages.map((told, i) => stageOf(told, files, i + 1 === recipe.stages.length));
  }

  get memoryBytes() {
    return this.#stages.reduce((sum, stage) => sum + (stage.memoryBytes ?? 0), 0);
  }

  /** Makes all instances, and keeps what agents began with for `verify`. */
  start() {
    for (const stage of this.#stages) stage.start?.();
  }

  /**
   * Runs the input whose answer is known, so that code is there before the first caller comes.
   * @returns {Promise<string>} SHA-256 of the answer
   */
  async warm() {
    return sha256(bytesOfAnswer(this.run(this.known)));
  }

  /** The known input, as `run` takes it. */
  get known() {
    const bytes = Uint8Array.from(atob(this.#recipe.known.input), (letter) => letter.charCodeAt(0));
    return this.#recipe.takes.kind === "tensors" ? tensorsOf(bytes) : bytes;
  }

  /** Holds manifests and constants against their digests, once. Rejects when one differs: for good. */
  verify() {
    this.#verified ??= this.#check().catch((error) => {
      if (!(error instanceof Refusal)) this.#verified = null; // such as no memory at that moment
      throw error;
    });
    return this.#verified;
  }

  /**
   * @param {Uint8Array | Record<string, import("./tensors.mjs").Tensor>} input as `inputOf` gives it
   * @returns {Uint8Array | Record<string, import("./tensors.mjs").Tensor> | object[]} bytes, tensors or hits
   */
  run(input) {
    this.start();
    const from = (value, at) => (at === this.#stages.length ? value : this.#stages[at].run(value, (given) => from(given, at + 1)));
    return from(input, 0);
  }

  /** As `run`, where the answer is one vector. @returns {Float32Array} */
  embed(input) {
    return valuesOf(this.run(input)[this.#recipe.vector.name]);
  }

  async #check() {
    this.start();
    for (const [i, { kind, name, digests }] of this.#recipe.stages.entries())
      if (digests) await hold(kind, name, this.#stages[i].guest(digests), digests);
  }
}

async function hold(kind, name, { module, constants }, wanted) {
  const [section = new Uint8Array()] = WebAssembly.Module.customSections(module, `littoral.${kind}`);
  for (const [what, bytes] of [["manifest", section], ["memory", constants]]) {
    const found = await sha256(bytes);
    if (found !== wanted[what])
      throw new Refusal(503, `${what} of the ${kind} \`${name}\`: SHA-256 is ${found}, expected ${wanted[what]}`);
  }
}

/** What a known answer's digest is of. */
function bytesOfAnswer(answer) {
  if (answer instanceof Uint8Array) return answer;
  if (Array.isArray(answer)) return new Float64Array(answer.flatMap(({ id, score }) => [id, score]));
  const parts = Object.values(answer).map(({ bytes }) => bytes);
  const all = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) all.set(part, (at += part.length) - part.length);
  return all;
}
