import { Refusal } from "./refusal.mjs";

const WORDS_BYTES_MAX = 2048;
const STATUS = { "-1": 422, "-2": 413, "-3": 422 }; // the caller's faults, docs/reference/agent-abi.md
const OWN_MAX = -100n;

/**
 * One agent in its ABI: `init` once, then `alloc`, copy in, `infer`, read, `reset`. A trap costs the instance, the next
 * call makes another. Calls run to their end without a pause, so that none sees what another left.
 */
export class Agent {
  #module;
  #init;
  #memoryBytesMax;
  #exports = null;

  /**
   * @param {WebAssembly.Module} module
   * @param {Uint8Array} init what its `init` gets
   * @param {number} memoryBytesMax an instance that took more is given up after the call
   */
  constructor(module, init, memoryBytesMax) {
    this.#module = module;
    this.#init = init;
    this.#memoryBytesMax = memoryBytesMax;
  }

  /** @returns {number} of the instance, 0 before it is started */
  get memoryBytes() {
    return this.#exports?.memory.buffer.byteLength ?? 0;
  }

  /** @param {(memory: ArrayBuffer) => void} [seen] gets the memory as the file has filled it */
  start(seen) {
    if (this.#exports !== null) return;
    const { exports } = new WebAssembly.Instance(this.#module, { littoral: { log() {} } });
    seen?.(exports.memory.buffer);
    exports._initialize?.();
    if (exports.init(...placed(exports, this.#init)) !== 0) throw new Error(`agent: \`init\`: ${words(exports)}`);
    exports.reset();
    this.#exports = exports;
  }

  /**
   * @template T
   * @param {Uint8Array} bytes
   * @param {(answer: Uint8Array) => T} use gets the answer where it lies, until it returns
   * @returns {T}
   */
  infer(bytes, use) {
    this.start();
    const exports = this.#exports;
    this.#exports = null; // unless all goes well
    const word = called(exports, () => exports.infer(...placed(exports, bytes)));
    if (word < 0n) {
      const refusal = refused(exports, word);
      this.#keep(exports);
      throw refusal;
    }
    try {
      return use(span(exports, word));
    } finally {
      this.#keep(exports);
    }
  }

  #keep(exports) {
    exports.reset();
    if (exports.memory.buffer.byteLength <= this.#memoryBytesMax) this.#exports = exports;
  }
}

function placed(exports, bytes) {
  const pointer = exports.alloc(bytes.length) >>> 0;
  if (pointer === 0 && bytes.length) throw new Refusal(413, `no memory for an input of ${bytes.length} bytes`);
  new Uint8Array(exports.memory.buffer, pointer, bytes.length).set(bytes);
  return [pointer, bytes.length];
}

function called(exports, call) {
  try {
    return call();
  } catch (error) {
    if (!(error instanceof WebAssembly.RuntimeError)) throw error;
    const text = words(exports);
    if (text.startsWith("out of memory")) throw new Refusal(413, text);
    throw new Error(`agent trapped: ${text || error.message}`);
  }
}

function refused(exports, word) {
  const status = STATUS[word] ?? (word <= OWN_MAX ? 422 : 500);
  return new Refusal(status, words(exports) || `agent answered with error ${word}`);
}

/** A pointer in the upper half of a word, a length in the lower. */
function span(exports, word) {
  return new Uint8Array(exports.memory.buffer, Number(word >> 32n) >>> 0, Number(word & 0xffffffffn));
}

function words(exports) {
  const word = exports.last_error();
  return word <= 0n ? "" : new TextDecoder().decode(span(exports, word).subarray(0, WORDS_BYTES_MAX));
}
