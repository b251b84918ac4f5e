const SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5];

const FAMILIES = {
  request_duration_seconds: ["histogram", "Time to answer a request, by route and status"],
  requests_total: ["counter", "Requests, by route and status"],
  embedding_failure_total: ["counter", "Pictures that gave no embedding, by reason"],
  vector_db_error_total: ["counter", "Questions to an endpoint that failed, by reason"],
  vector_db_hedge_total: ["counter", "Second questions that were asked because the first was late or failed"],
  cache_total: ["counter", "Looks into a cache, by cache and outcome"],
  cold_start_total: ["counter", "Starts of this isolate's instances"],
  memory_bytes: ["gauge", "Memory of the guests"],
  body_buffer_bytes: ["gauge", "Buffers for bodies, in use or free"],
  cache_bytes: ["gauge", "Values in both caches of the isolate"],
};

/** Counters of one isolate, in the text format of Prometheus. */
export class Metrics {
  #values = new Map();

  /**
   * @param {keyof typeof FAMILIES} name
   * @param {Record<string, string | number>} [labels] few values each: every combination is kept
   */
  count(name, labels = {}, by = 1) {
    this.#add(name, name, labels, by);
  }

  /** @param {number} value in place of the one before */
  set(name, value) {
    this.#values.set(name, new Map([[name, value]]));
  }

  /** @param {number} seconds */
  observe(name, labels, seconds) {
    for (const most of [...SECONDS, "+Inf"])
      this.#add(name, `${name}_bucket`, { ...labels, le: most }, most === "+Inf" || seconds <= most ? 1 : 0);
    this.#add(name, `${name}_sum`, labels, seconds);
    this.#add(name, `${name}_count`, labels, 1);
  }

  /** @returns {string} */
  text() {
    return Object.entries(FAMILIES)
      .map(([name, [kind, help]]) => {
        const lines = [...(this.#values.get(name) ?? [])].map(([line, value]) => `${line} ${value}\n`);
        return `# HELP ${name} ${help}\n# TYPE ${name} ${kind}\n${lines.join("")}`;
      })
      .join("");
  }

  #add(family, name, labels, by) {
    const pairs = Object.entries(labels).map(([key, value]) => `${key}="${value}"`);
    const line = pairs.length ? `${name}{${pairs.join(",")}}` : name;
    if (!this.#values.has(family)) this.#values.set(family, new Map());
    const lines = this.#values.get(family);
    lines.set(line, (lines.get(line) ?? 0) + by);
  }
}
