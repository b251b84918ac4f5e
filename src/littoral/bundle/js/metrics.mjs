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
  #values = new Map(); // by family, then by the text of the labels: a number, or a histogram

  /**
   * @param {keyof typeof FAMILIES} name
   * @param {Record<string, string | number>} [labels] few values each: every combination is kept
   */
  count(name, labels = {}, by = 1) {
    const values = this.#of(name);
    const key = labelsOf(labels);
    values.set(key, (values.get(key) ?? 0) + by);
  }

  /** @param {number} value in place of the one before */
  set(name, value) {
    this.#of(name).set("", value);
  }

  /** @param {number} seconds */
  observe(name, labels, seconds) {
    const values = this.#of(name);
    const key = labelsOf(labels);
    if (!values.has(key)) values.set(key, { within: SECONDS.map(() => 0), sum: 0, count: 0 });
    const found = values.get(key);
    SECONDS.forEach((most, i) => (found.within[i] += seconds <= most ? 1 : 0));
    found.sum += seconds;
    found.count += 1;
  }

  /** @returns {string} */
  text() {
    return Object.entries(FAMILIES)
      .map(([name, [kind, help]]) => {
        const lines = [...this.#of(name)].flatMap(([key, value]) => linesOf(name, key, value));
        return `# HELP ${name} ${help}\n# TYPE ${name} ${kind}\n${lines.map((line) => `${line}\n`).join("")}`;
      })
      .join("");
  }

  #of(name) {
    if (!this.#values.has(name)) this.#values.set(name, new Map());
    return this.#values.get(name);
  }
}

const labelsOf = (labels) => Object.keys(labels).map((key) => `${key}="${labels[key]}"`).join(",");

function linesOf(name, labels, value) {
  if (typeof value === "number") return [`${name}${labels && `{${labels}}`} ${value}`];
  const counts = [...value.within, value.count];
  const buckets = [...SECONDS, "+Inf"].map((most, i) => `${name}_bucket{${labels},le="${most}"} ${counts[i]}`);
  return [...buckets, `${name}_sum{${labels}} ${value.sum}`, `${name}_count{${labels}} ${value.count}`];
}
