import { Refusal } from "./refusal.mjs";
import { countOf, cut, elementBytes, joined, padded } from "./tensors.mjs";

/**
 * @typedef {object} Port
 * @property {string} name
 * @property {string} dtype
 * @property {number[]} shape
 * @property {number} offset
 * @property {number | null} dims address of the actual sizes, where they depend on data
 */

/**
 * @typedef {object} Variant
 * @property {string} entry
 * @property {Record<string, number>} key
 * @property {Port[]} inputs
 * @property {Port[]} outputs
 */

/**
 * A compiled model. Memory is fixed, and the same for all calls; inputs are written before each, outputs copied.
 */
export class Model {
  #module;
  #told;
  #exports = null;

  /**
   * @param {WebAssembly.Module} module
   * @param {{name: string, variants: Variant[], axes: Record<string, object>}} told variants: the smallest first
   */
  constructor(module, told) {
    this.#module = module;
    this.#told = told;
  }

  /** @returns {number} of the instance, 0 before it is started */
  get memoryBytes() {
    return this.#exports?.memory.buffer.byteLength ?? 0;
  }

  start() {
    this.#exports ??= new WebAssembly.Instance(this.#module).exports;
  }

  /** @returns {Uint8Array} what the file puts there; no call changes it */
  constants([start, bytes]) {
    this.start();
    return new Uint8Array(this.#exports.memory.buffer, start, bytes);
  }

  /**
   * @param {Record<string, import("./tensors.mjs").Tensor>} inputs one for every input
   * @returns {Record<string, import("./tensors.mjs").Tensor>} outputs, values of their own
   */
  run(inputs) {
    const holding = this.#told.variants.find(({ inputs: ports }) => ports.every((port) => this.#holds(port, inputs[port.name])));
    if (holding !== undefined) return this.#runIn(holding, inputs);
    const given = Object.entries(inputs).map(([name, { dtype, shape }]) => `\`${name}\` ${dtype}[${shape.join(", ")}]`);
    const answer = this.#runInParts(inputs);
    if (answer === null) throw new Refusal(422, `model \`${this.#told.name}\` has no variant for ${given.join(", ")}`);
    return answer;
  }

  #runIn(variant, inputs) {
    this.start();
    const { memory, [variant.entry]: run } = this.#exports;
    for (const port of variant.inputs)
      new Uint8Array(memory.buffer, port.offset, bytesOf(port)).set(this.#filled(inputs[port.name], port).bytes);
    try {
      run();
    } catch (error) {
      this.#exports = null;
      throw error;
    }
    const sizes = this.#sizes(inputs);
    return Object.fromEntries(variant.outputs.map((port) => [port.name, this.#trimmed(port, memory.buffer, variant, sizes)]));
  }

  /** Along a dimension that may be split: as many as the largest variant has, then the others. Null where none may be. */
  #runInParts(inputs) {
    const [name, axis] = Object.entries(this.#told.axes).find(([, { split }]) => split) ?? [];
    if (axis === undefined) return null;
    const most = Math.max(...this.#told.variants.map(({ key }) => key[name]));
    const count = this.#sizes(inputs)[name];
    if (!(count > most)) return null;
    const part = (start, size) =>
      mappedTensors(inputs, (tensor, input) => (input in axis.inputs ? cut(tensor, axis.inputs[input], size, start) : tensor));
    const parts = [this.run(part(0, most)), this.run(part(most, count - most))];
    return mappedTensors(parts[0], (tensor, output) =>
      output in axis.outputs ? joined(parts.map((found) => found[output]), axis.outputs[output]) : tensor,
    );
  }

  #holds({ name, dtype, shape }, given) {
    if (given?.dtype !== dtype || given.shape.length !== shape.length) return false;
    return shape.every((size, at) => {
      const own = given.shape[at];
      return own === size || (0 < own && own < size && this.#isPadded(name, at));
    });
  }

  #isPadded(name, at) {
    return Object.values(this.#told.axes).some(({ inputs, pad }) => inputs[name] === at && pad !== null);
  }

  #filled(tensor, { name, shape }) {
    for (const { inputs, pad } of Object.values(this.#told.axes)) {
      const at = inputs[name];
      if (at !== undefined && tensor.shape[at] < shape[at]) tensor = padded(tensor, at, shape[at], pad === "repeat" ? pad : pad[name]);
    }
    return tensor;
  }

  /** What is given along each axis. */
  #sizes(inputs) {
    return Object.fromEntries(
      Object.entries(this.#told.axes).map(([key, axis]) => {
        const [[name, at]] = Object.entries(axis.inputs);
        return [key, inputs[name]?.shape[at]];
      }),
    );
  }

  /** An output without what was made of padding. */
  #trimmed(port, buffer, { key }, sizes) {
    let tensor = read(port, buffer, this.#told.name);
    for (const [name, { outputs }] of Object.entries(this.#told.axes)) {
      const at = outputs[port.name];
      if (at !== undefined && sizes[name] < key[name]) tensor = cut(tensor, at, (port.shape[at] / key[name]) * sizes[name]);
    }
    return tensor;
  }
}

const mappedTensors = (tensors, work) =>
  Object.fromEntries(Object.entries(tensors).map(([name, tensor]) => [name, work(tensor, name)]));
const bytesOf = ({ dtype, shape }) => countOf(shape) * elementBytes(dtype);

function read(port, buffer, model) {
  const { name, dtype, offset, dims } = port;
  const shape = dims === null ? port.shape : Array.from(new BigInt64Array(buffer, dims, port.shape.length), Number);
  if (!shape.every((size, at) => 0 <= size && size <= port.shape[at]))
    throw new Error(`model \`${model}\`: output \`${name}\` has shape ${shape}, at most ${port.shape}`);
  return { dtype, shape, bytes: new Uint8Array(buffer, offset, bytesOf({ dtype, shape })).slice() };
}
