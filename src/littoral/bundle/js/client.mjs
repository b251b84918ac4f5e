import { Refusal } from "./refusal.mjs";
import { nearest } from "./search.mjs";

const UNCOUNTED = { count() {} };

/** A pipeline in a Web Worker of the page. What is asked about stays on the device; what is sent to be searched is the vector. */
export class Client {
  #recipe;
  #node;
  #worker;
  #waiting = new Map();
  #count = 0;
  #failure = null;

  /**
   * @param {typeof import("./recipe.mjs").RECIPE} recipe
   * @param {{node?: string, worker?: URL, onProgress?: (loaded: number, total: number) => void}} options
   *   node: address of the vector database, by default the page's own
   */
  constructor(recipe, { node = globalThis.location?.origin, worker, onProgress = () => {} }) {
    this.#recipe = recipe;
    this.#node = node.replace(/\/+$/, "");
    this.#worker = new Worker(worker, { type: "module" });
    this.ready = new Promise((resolve, reject) => {
      this.#worker.addEventListener("message", ({ data }) => {
        if (data.total) onProgress(data.loaded, data.total);
        if (data.ready) resolve();
        if (data.failed) reject(this.#fail(data.failed));
        if (data.id) this.#settle(data);
      });
      this.#worker.addEventListener("error", ({ message }) => reject(this.#fail(message || "worker could not be started")));
    });
    this.ready.catch(() => {});
  }

  /**
   * @param {Blob | ArrayBuffer | Uint8Array | string} input a JPEG or PNG picture, a text, what the pipeline takes
   * @returns {Promise<Float32Array>}
   */
  embed(input) {
    return this.#asked(input, "vector");
  }

  /**
   * @param {Blob | ArrayBuffer | Uint8Array | string} input
   * @returns {Promise<Uint8Array | object[] | Record<string, {dtype: string, shape: number[], bytes: Uint8Array}>>} bytes,
   *   hits or tensors, as the steps before the search make them
   */
  run(input) {
    return this.#asked(input, "answer");
  }

  /**
   * @param {Blob | ArrayBuffer | Uint8Array | string} input
   * @returns {Promise<Float32Array | object[]>} what is searched for; of a pipeline without a search its hits
   */
  async ask(input) {
    if (this.#recipe.search !== null) return this.embed(input);
    const answer = await this.run(input);
    if (!Array.isArray(answer)) throw new Refusal(404, "pipeline has no search");
    return answer;
  }

  async #asked(input, wants) {
    const bytes = await new Response(input).arrayBuffer();
    if (this.#failure !== null) throw this.#failure;
    const id = ++this.#count;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      this.#worker.postMessage({ id, input: bytes, wants }, [bytes]);
    });
  }

  /**
   * @param {Float32Array} vector
   * @returns {Promise<{id: unknown, score: number, payload: unknown}[]>}
   */
  async search(vector) {
    const { search } = this.#recipe;
    if (search === null) throw new Refusal(404, "pipeline has no search");
    const body = { ...search.query, query: Array.from(vector) };
    const question = { collection: search.collection, body, places: [], headers: {} };
    const endpoints = [{ url: this.#node, regions: [], key: "" }];
    return nearest(endpoints, question, { deadline_ms: 5000, hedge_ms: 1000 }, UNCOUNTED);
  }

  /** @param {Blob | ArrayBuffer | Uint8Array | string} input */
  async similar(input) {
    return this.search(await this.embed(input));
  }

  close() {
    this.#worker.terminate();
    this.#fail("closed");
  }

  #settle({ id, answer, error }) {
    const { resolve, reject } = this.#waiting.get(id);
    this.#waiting.delete(id);
    if (error) reject(new Refusal(error.status, error.message));
    else resolve(answer);
  }

  #fail(message) {
    this.#failure ??= new Refusal(503, message);
    for (const { reject } of this.#waiting.values()) reject(this.#failure);
    this.#waiting.clear();
    return this.#failure;
  }
}
