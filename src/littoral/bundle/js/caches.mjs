/** The latest entries, each for a time. */
export class Latest {
  #entries = new Map();
  #most;

  /** @param {number} most entries */
  constructor(most) {
    this.#most = most;
  }

  /** @param {string} key @param {number} now_ms */
  get(key, now_ms) {
    const found = this.#entries.get(key);
    if (found === undefined) return undefined;
    this.#entries.delete(key);
    if (found.until_ms <= now_ms) return undefined;
    this.#entries.set(key, found);
    return found.value;
  }

  put(key, value, until_ms) {
    this.#entries.delete(key);
    this.#entries.set(key, { value, until_ms });
    if (this.#entries.size > this.#most) this.#entries.delete(this.#entries.keys().next().value);
  }
}

/**
 * Embeddings by tenant, model and content: the latest in the isolate, all in KV where it is bound. What KV fails at is a miss.
 */
export class Embeddings {
  #latest = new Latest(256);

  /**
   * @param {string} key @param {number} count of numbers @param {any} kv @param {number} now_ms
   * @returns {Promise<Float32Array | undefined>}
   */
  async get(key, count, kv, now_ms) {
    const known = this.#latest.get(key, now_ms);
    if (known !== undefined || kv === null) return known;
    const stored = await kv.get(key, "arrayBuffer").catch(() => null);
    return stored?.byteLength === 4 * count ? new Float32Array(stored) : undefined;
  }

  /** @returns {Promise<void>} ends when KV has it, or has failed */
  async put(key, vector, kv, ttl_s, now_ms) {
    this.#latest.put(key, vector, now_ms + 1000 * ttl_s);
    await kv?.put(key, vector.slice().buffer, { expirationTtl: ttl_s }).catch(() => {});
  }
}
