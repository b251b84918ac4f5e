import { accepts, ok, OCTETS, okOf, refusal, told } from "./answers.mjs";
import { Bodies } from "./body.mjs";
import { Embeddings, Latest } from "./caches.mjs";
import { sha256 } from "./digest.mjs";
import { inputOf } from "./inputs.mjs";
import { Metrics } from "./metrics.mjs";
import { originHeaders, preflight } from "./origins.mjs";
import { Refusal } from "./refusal.mjs";
import { nearest } from "./search.mjs";
import { settingsOf } from "./settings.mjs";
import { checkToken, tenantOf } from "./tenants.mjs";
import { tensorOf } from "./tensors.mjs";
import { traceHeaders } from "./trace.mjs";

const RESULTS_MAX = 512;
const RESULTS_BYTES_MAX = 4 << 20;
const CHARACTER_BYTES = 2;

/** The routes of a bundle, for whatever has fetch's `Request` and `Response`. */
export class Service {
  #chain;
  #recipe;
  #bodies = new Bodies();
  #metrics = new Metrics();
  #embeddings = new Embeddings();
  #results = new Latest(RESULTS_MAX, RESULTS_BYTES_MAX);
  #isWarm = false;
  #settings = new WeakMap();
  #routes = {
    "/similarity": { POST: this.#similarity },
    "/embed": { POST: this.#embed },
    "/healthz": { GET: this.#health },
    "/metrics": { GET: this.#told },
    "/warmup": { GET: this.#warm, POST: this.#warm },
  };

  /**
   * @param {import("./chain.mjs").Chain} chain
   * @param {typeof import("./recipe.mjs").RECIPE} recipe
   */
  constructor(chain, recipe) {
    this.#chain = chain;
    this.#recipe = recipe;
    this.#metrics.count("cold_start_total");
    const own = { POST: this.#pipeline };
    this.#routes = { [`/${recipe.pipeline}`]: own, ...this.#routes, [`/pipelines/${recipe.pipeline}`]: own };
  }

  /**
   * @param {Request} request
   * @param {Record<string, unknown>} env bindings
   * @param {(work: Promise<unknown>) => void} after keeps the isolate until the work is done
   * @returns {Promise<Response>}
   */
  async answer(request, env, after) {
    const began_ms = performance.now();
    const { pathname } = new URL(request.url);
    const route = Object.hasOwn(this.#routes, pathname) ? this.#routes[pathname] : undefined;
    const call = { request, after, began_ms, settings: null, release() {} };
    let response;
    try {
      call.settings = this.#settingsOf(env);
      const work = checkedRoute(route, pathname, request.method);
      response = await work.call(this, call);
    } catch (error) {
      response = refusal(error, began_ms);
      call.release();
      await this.#bodies.drain(request).catch(() => {});
    } finally {
      call.release();
    }
    const headers = { "littoral-version": this.#recipe.version, ...originHeaders(request, call.settings?.origins ?? []) };
    for (const [name, value] of Object.entries(headers)) response.headers.set(name, value);
    const labels = { route: route ? pathname : "other", status: response.status };
    this.#metrics.count("requests_total", labels);
    this.#metrics.observe("request_duration_seconds", labels, (performance.now() - began_ms) / 1000);
    return response;
  }

  #settingsOf(env) {
    if (!this.#settings.has(env)) this.#settings.set(env, settingsOf(env, this.#recipe));
    return this.#settings.get(env);
  }

  async #similarity(call) {
    if (this.#recipe.search === null) throw new Refusal(404, "pipeline has no search; `POST /embed` gives its vector");
    const { result, how } = await this.#found(call);
    return okOf(result, call.began_ms, how);
  }

  async #embed(call) {
    const { vector: kind, pipeline } = this.#recipe;
    if (kind === null) throw new Refusal(404, `pipeline gives no vector; \`POST /pipelines/${pipeline}\` gives its answer`);
    const asked = await this.#asked(call);
    const { vector, how } = await this.#vector(asked, call);
    const outputs = { [kind.name]: tensorOf("float32", kind.shape, vector) };
    const octets = () => new Response(vector, { headers: { "content-type": OCTETS, "littoral-how": JSON.stringify(how) } });
    return accepts(call.request, OCTETS) ? octets() : told(outputs, call, how);
  }

  /** As a node answers at the same route. */
  async #pipeline(call) {
    if (this.#recipe.search !== null) {
      const { result, how } = await this.#found(call);
      return okOf(result, call.began_ms, how, { how: nodesHow(how) });
    }
    const asked = await this.#asked(call);
    if (this.#recipe.vector !== null) {
      const { name, shape } = this.#recipe.vector;
      const { vector, how } = await this.#vector(asked, call);
      return told({ [name]: tensorOf("float32", shape, vector) }, call, how, { how: nodesHow(how) });
    }
    const { value, took_ms } = await this.#computed(asked.input, (input) => this.#chain.run(input));
    const how = { stages: { [this.#recipe.pipeline]: took_ms }, cache: null };
    return told(value, call, how, { how: nodesHow(how) });
  }

  /** Hits of the search, as JSON. */
  async #found(call) {
    const { search } = this.#recipe;
    const asked = await this.#asked(call);
    const { request, settings } = call;
    const known = asked.reads ? this.#results.get(asked.key, performance.now()) : undefined;
    if (asked.reads) this.#metrics.count("cache_total", { cache: "result", outcome: known ? "hit" : "miss" });
    if (known !== undefined) return { result: known, how: { stages: {}, cache: "exact" } };
    const { vector, how } = await this.#vector(asked, call);
    const collection = asked.tenant.collection ?? search.collection;
    const body = { ...search.query, query: Array.from(vector), ...filtered(search.query.filter, asked.tenant.filter) };
    const question = { collection, body, places: places(request), headers: traceHeaders(request) };
    const times = { deadline_ms: settings.DEADLINE_MS, hedge_ms: settings.HEDGE_MS };
    const searched_ms = performance.now();
    const result = JSON.stringify(await nearest(settings.endpoints, question, times, this.#metrics));
    const done_ms = performance.now();
    how.stages.search = done_ms - searched_ms;
    const bytes = CHARACTER_BYTES * result.length;
    if (asked.keeps) this.#results.put(asked.key, result, bytes, done_ms + 1000 * settings.RESULT_TTL_S);
    return { result, how };
  }

  async #health({ began_ms }) {
    await this.#chain.verify();
    const { pipeline, version, digest } = this.#recipe;
    return ok({ pipeline, version, digest, memory_bytes: this.#chain.memoryBytes }, began_ms, {});
  }

  async #told({ request, settings }) {
    await checkToken(request, settings.metricsToken);
    this.#metrics.set("memory_bytes", this.#chain.memoryBytes);
    this.#metrics.set("body_buffer_bytes", this.#bodies.bytes);
    this.#metrics.set("cache_bytes", this.#embeddings.bytes + this.#results.bytes);
    return new Response(this.#metrics.text(), { headers: { "content-type": "text/plain; version=0.0.4" } });
  }

  /** Whether this place computes what a node does. Asked again it is not computed again: no token is needed to ask. */
  async #warm({ began_ms }) {
    await this.#chain.verify();
    if (!this.#isWarm && (await this.#chain.warm()) !== this.#recipe.known.answer)
      throw new Refusal(503, "known input: its answer is not the node's");
    this.#isWarm = true;
    return ok({ memory_bytes: this.#chain.memoryBytes }, began_ms, {});
  }

  /** Tenant, input, and under which key the two are remembered. */
  async #asked(call) {
    const { request, settings } = call;
    const { takes, digest } = this.#recipe;
    const tenant = await tenantOf(request, settings.tenants);
    const most = { bytes: settings.BODY_BYTES_MAX, ms: settings.BODY_DEADLINE_MS };
    const { bytes, type, release } = await this.#bodies.take(request, takes.types, most);
    call.release = release;
    const input = inputOf(bytes, takes, settings.SIDE_MAX, type);
    const control = (request.headers.get("cache-control") ?? "").toLowerCase();
    const keeps = !control.includes("no-store");
    const key = `${tenant.name}/${digest}/${await sha256(bytes)}`;
    return { tenant, input, key, keeps, reads: keeps && !control.includes("no-cache") };
  }

  async #vector({ input, key, keeps, reads }, { after, settings, release }) {
    const { embeddings: kv, EMBEDDING_TTL_S } = settings;
    const { size } = this.#recipe.vector;
    const known = reads ? await this.#embeddings.get(key, size, kv, performance.now()) : undefined;
    if (reads) this.#metrics.count("cache_total", { cache: "embedding", outcome: known ? "hit" : "miss" });
    if (known !== undefined) return { vector: known, how: { stages: {}, cache: "embedding" } };
    const { value: vector, took_ms } = await this.#computed(input, (given) => this.#chain.embed(given).slice());
    release(); // the search may take long
    if (keeps) after(this.#embeddings.put(key, vector, kv, EMBEDDING_TTL_S, performance.now()));
    return { vector, how: { stages: { embed: took_ms }, cache: null } };
  }

  async #computed(input, compute) {
    await this.#chain.verify();
    const began_ms = performance.now();
    try {
      return { value: compute(input), took_ms: performance.now() - began_ms };
    } catch (error) {
      this.#metrics.count("embedding_failure_total", { reason: error instanceof Refusal ? "picture" : "guest" });
      throw error;
    }
  }
}

function checkedRoute(route, pathname, method) {
  if (route === undefined) throw new Refusal(404, `no route \`${pathname.slice(0, 80)}\``);
  if (method === "OPTIONS") return () => preflight(Object.keys(route));
  const work = Object.hasOwn(route, method) ? route[method] : undefined;
  if (work === undefined) {
    const allow = Object.keys(route).join(", ");
    throw new Refusal(405, `\`${pathname}\` takes ${allow}`, { allow });
  }
  return work;
}

/** Where the caller is, as the platform tells it, or as he says. */
function places(request) {
  const { continent, country, colo } = request.cf ?? {};
  return [request.headers.get("littoral-region"), colo, country, continent].filter(Boolean);
}

function filtered(own, tenants) {
  const must = [own, tenants].filter(Boolean);
  return must.length ? { filter: must.length === 1 ? must[0] : { must } } : {};
}

/** As a node says how an answer was made. */
const nodesHow = ({ stages, cache }) => ({ node: "", stages, cache, search: null });
