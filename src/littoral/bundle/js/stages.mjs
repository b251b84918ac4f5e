import { Agent } from "./agent.mjs";
import { frameOf, tensorsOf } from "./frame.mjs";
import { Model } from "./model.mjs";
import { STEPS } from "./steps.mjs";

/**
 * One step of a recipe: `run(value, next)` gives its value to `next`, and gives back what that gives. What an agent
 * answers lies in its memory until then.
 * @param {any} told
 * @param {Record<string, WebAssembly.Module | ArrayBuffer>} files
 * @param {boolean} isLast
 */
export function stageOf(told, files, isLast) {
  if (told.kind === "agent") return new AgentStage(told, files, isLast);
  if (told.kind === "model") return new ModelStage(told, files);
  return { run: (value, next) => next(STEPS[told.step](value, told)) };
}

class AgentStage {
  #told;
  #module;
  #agent;
  #isLast;
  #image = null;

  constructor(told, files, isLast) {
    const init = told.init === null ? new Uint8Array(files[told.init_file]) : new TextEncoder().encode(told.init);
    this.#told = told;
    this.#module = files[told.file];
    this.#agent = new Agent(this.#module, init, told.memory_bytes);
    this.#isLast = isLast;
  }

  get memoryBytes() {
    return this.#agent.memoryBytes;
  }

  start() {
    const [start, bytes] = this.#told.digests.constants;
    this.#agent.start((memory) => {
      this.#image ??= new Uint8Array(memory, start, bytes).slice();
    });
  }

  run(value, next) {
    const { fits, gives } = this.#told;
    const input = fits === null ? value : frameOf(fitted(value, fits));
    return this.#agent.infer(input, (answer) => {
      const bytes = this.#isLast ? answer.slice() : answer;
      return next(gives === "bytes" ? bytes : tensorsOf(bytes));
    });
  }

  /** What is held against digests; given once. */
  guest() {
    const constants = this.#image;
    this.#image = new Uint8Array();
    return { module: this.#module, constants };
  }
}

class ModelStage {
  #told;
  #module;
  #model;

  constructor(told, files) {
    this.#told = told;
    this.#module = files[told.file];
    this.#model = new Model(this.#module, told);
  }

  get memoryBytes() {
    return this.#model.memoryBytes;
  }

  start() {
    this.#model.start();
  }

  run(value, next) {
    return next(this.#model.run(fitted(value, this.#told.fits)));
  }

  guest({ constants }) {
    return { module: this.#module, constants: this.#model.constants(constants) };
  }
}

/** Tensors under the names that a guest knows; a leading 1 is added where it wants one. */
function fitted(tensors, fits) {
  return Object.fromEntries(
    fits.map(([source, port, addsBatch]) => {
      const { dtype, shape, bytes } = tensors[source];
      return [port, { dtype, shape: addsBatch ? [1, ...shape] : shape, bytes }];
    }),
  );
}
