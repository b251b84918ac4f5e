/**
 * A compiled model. Memory is fixed, and the same for all calls; the input is written before each, the output copied.
 */
export class Model {
  #module;
  #variant;
  #exports = null;

  /**
   * @param {WebAssembly.Module} module
   * @param {{entry: string, input: {offset: number, bytes: number}, output: {offset: number, bytes: number}}} variant
   */
  constructor(module, variant) {
    this.#module = module;
    this.#variant = variant;
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
   * @param {Uint8Array} input
   * @returns {Float32Array} values of its own
   */
  run(input) {
    this.start();
    const { entry, input: to, output: from } = this.#variant;
    const { memory, [entry]: run } = this.#exports;
    if (input.length !== to.bytes) throw new Error(`model takes ${to.bytes} bytes, was given ${input.length}`);
    new Uint8Array(memory.buffer, to.offset, to.bytes).set(input);
    try {
      run();
    } catch (error) {
      this.#exports = null;
      throw error;
    }
    return new Float32Array(memory.buffer, from.offset, from.bytes / 4).slice();
  }
}
