import { within } from "./deadline.mjs";

const KV_MS_MAX = 1000;
const VECTORS_MAX = 256;
const VECTORS_BYTES_MAX = 2 << 20;

/** The latest entries, each for a time; bounded in number and in bytes. */
export class Latest {
  #entries = new Map();
  #most;
  #bytesMax;
  #bytes = 0;

  /** @param {number} most entries @param {number} bytesMax of their values */
  constructor(most, bytesMax) {
    this.#most = most;
    this.#bytesMax = bytesMax;
  }

  /** @returns {number} of the values */
  get bytes() {
    return this.#bytes;
  }

  /** @param {string} key @param {number} now_ms */
  get(key, now_ms) {
    const found = this.#entries.get(key);
    if (found === undefined) return undefined;
    this.#drop(key);
    if (found.until_ms <= now_ms) return undefined;
    this.#keep(key, found);
    return found.value;
  }

  /** @param {number} bytes of the value, which is not kept where it alone would be too much */
  put(key, value, bytes, until_ms) {
    this.#drop(key);
    if (bytes > this.#bytesMax) return;
    this.#keep(key, { value, bytes, until_ms });
    while (this.#entries.size > this.#most || this.#bytes > this.#bytesMax) this.#drop(this.#entries.keys().next().value);
  }

  #keep(key, entry) {
    this.#entries.set(key, entry);
    this.#bytes += entry.bytes;
  }

  #drop(key) {
    this.#bytes -= this.#entries.get(key)?.bytes ?? 0;
    this.#entries.delete(key);
  }
}

/**
 * Embeddings by tenant, model and content: the latest in the isolate, all in KV where it is bound. What KV fails at, or is
 * late with, is a miss.
 */
export class Embeddings {
  #latest = new Latest(VECTORS_MAX, VECTORS_BYTES_MAX);

  /** @returns {number} of those in the isolate */
  get bytes() {
    return this.#latest.bytes;
  }

  /**
   * @param {string} key @param {number} count of numbers @param {any} kv @param {number} now_ms
   * @returns {Promise<Float32Array | undefined>}
   */
  async get(key, count, kv, now_ms) {
    const known = this.#latest.get(key, now_ms);
    if (known !== undefined || kv === null) return known;
    const stored = await within(kv.get(key, "arrayBuffer"), KV_MS_MAX, new Error("KV is late")).catch(() => null);
    return stored?.byteLength === 4 * count ? new Float32Array(stored) : undefined;
  }

  /** @returns {Promise<void>} ends when KV has it, or has failed */
  async put(key, vector, kv, ttl_s, now_ms) {
    this.#latest.put(key, vector, vector.byteLength, now_ms + 1000 * ttl_s);
    await kv?.put(key, vector.slice().buffer, { expirationTtl: ttl_s }).catch(() => {});
  }
}
