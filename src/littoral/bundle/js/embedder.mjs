import { Agent } from "./agent.mjs";
import { sha256 } from "./digest.mjs";
import { onlyTensor } from "./frame.mjs";
import { Model } from "./model.mjs";
import { Refusal } from "./refusal.mjs";
import { STEPS } from "./steps.mjs";

const NUMBER_OF = { F32: "float32", U8: "uint8", F64: "float64", I64: "int64", I32: "int32" };

/**
 * @typedef {object} Digests
 * @property {string} manifest SHA-256 of the section with the manifest
 * @property {[number, number]} constants address and bytes of what the file puts into memory
 * @property {string} memory SHA-256 of that
 */

/**
 * Picture in, vector out: agent, model, steps behind it. One request after the other, each without a pause, so that
 * requests under way at the same time never meet in a guest's memory.
 */
export class Embedder {
  #recipe;
  #modules;
  #agent;
  #model;
  #image = null;
  #verified = null;

  /**
   * @param {WebAssembly.Module} agent
   * @param {WebAssembly.Module} model
   * @param {typeof import("./recipe.mjs").RECIPE} recipe
   */
  constructor(agent, model, recipe) {
    this.#recipe = recipe;
    this.#modules = { agent, model };
    this.#agent = new Agent(agent, new TextEncoder().encode(recipe.agent.init), recipe.agent.memory_bytes);
    this.#model = new Model(model, recipe.model);
  }

  get memoryBytes() {
    return this.#agent.memoryBytes + this.#model.memoryBytes;
  }

  /** Makes both instances, and keeps what the agent began with for `verify`. */
  start() {
    const [start, bytes] = this.#recipe.agent.digests.constants;
    this.#agent.start((memory) => {
      this.#image ??= new Uint8Array(memory, start, bytes).slice();
    });
    this.#model.start();
  }

  /** Runs the picture whose vector is known, so that code is there before the first caller comes. */
  warm() {
    return this.embed(Uint8Array.from(atob(this.#recipe.known.picture), (letter) => letter.charCodeAt(0)));
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
   * @param {Uint8Array} picture
   * @returns {Float32Array}
   */
  embed(picture) {
    this.start();
    const { dtype, shape } = this.#recipe.model.input;
    const vector = this.#agent.infer(picture, (answer) => {
      const tensor = onlyTensor(answer);
      if (NUMBER_OF[tensor.dtype] !== dtype || String(tensor.shape) !== String(shape))
        throw new Error(`agent gives ${tensor.dtype}[${tensor.shape}], model takes ${dtype}[${shape}]`);
      return this.#model.run(tensor.data);
    });
    for (const step of this.#recipe.steps) STEPS[step](vector);
    return vector;
  }

  async #check() {
    this.start();
    const { agent, model } = this.#recipe;
    await hold("agent", this.#modules.agent, agent.digests, this.#image);
    await hold("model", this.#modules.model, model.digests, this.#model.constants(model.digests.constants));
    this.#image = new Uint8Array();
  }
}

async function hold(part, module, wanted, constants) {
  const [section = new Uint8Array()] = WebAssembly.Module.customSections(module, `littoral.${part}`);
  for (const [what, bytes] of [["manifest", section], ["memory", constants]]) {
    const found = await sha256(bytes);
    if (found !== wanted[what]) throw new Refusal(503, `${what} of the ${part}: SHA-256 is ${found}, expected ${wanted[what]}`);
  }
}
