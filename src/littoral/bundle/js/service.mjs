import { Bodies } from "./body.mjs";
import { Embeddings, Latest } from "./caches.mjs";
import { sha256 } from "./digest.mjs";
import { frameOf } from "./frame.mjs";
import { Metrics } from "./metrics.mjs";
import { originHeaders, preflight } from "./origins.mjs";
import { checkedPicture } from "./picture.mjs";
import { Refusal } from "./refusal.mjs";
import { nearest } from "./search.mjs";
import { settingsOf } from "./settings.mjs";
import { checkToken, tenantOf } from "./tenants.mjs";
import { traceHeaders } from "./trace.mjs";

const JSON_TYPE = { "content-type": "application/json; charset=utf-8" };
const RESULTS_MAX = 512;
const RESULTS_BYTES_MAX = 4 << 20;
const CHARACTER_BYTES = 2;

/** The routes of a bundle, for whatever has fetch's `Request` and `Response`. */
export class Service {
  #embedder;
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
   * @param {import("./embedder.mjs").Embedder} embedder
   * @param {typeof import("./recipe.mjs").RECIPE} recipe
   */
  constructor(embedder, recipe) {
    this.#embedder = embedder;
    this.#recipe = recipe;
    this.#metrics.count("cold_start_total");
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
    const told = { "littoral-version": this.#recipe.version, ...originHeaders(request, call.settings?.origins ?? []) };
    for (const [name, value] of Object.entries(told)) response.headers.set(name, value);
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
    const { search } = this.#recipe;
    if (search === null) throw new Refusal(404, "pipeline has no search; `POST /embed` gives its vector");
    const asked = await this.#asked(call);
    const { request, settings, began_ms } = call;
    const known = asked.reads ? this.#results.get(asked.key, performance.now()) : undefined;
    if (asked.reads) this.#metrics.count("cache_total", { cache: "result", outcome: known ? "hit" : "miss" });
    if (known !== undefined) return ok(known, began_ms, { stages: {}, cache: "exact" });
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
    return ok(result, began_ms, how);
  }

  async #embed(call) {
    const asked = await this.#asked(call);
    const { vector, how } = await this.#vector(asked, call);
    const { name, shape } = this.#recipe.output;
    const accepts = call.request.headers.get("accept") ?? "";
    const told = { "littoral-how": JSON.stringify(how) };
    if (accepts.includes("application/octet-stream"))
      return new Response(vector, { headers: { "content-type": "application/octet-stream", ...told } });
    if (accepts.includes("application/x-safetensors"))
      return new Response(frameOf(name, shape, vector), { headers: { "content-type": "application/x-safetensors", ...told } });
    const outputs = { [name]: { dtype: "float32", shape, data: nested(vector, shape) } };
    return ok(JSON.stringify({ outputs }), call.began_ms, how);
  }

  async #health({ began_ms }) {
    await this.#embedder.verify();
    const { pipeline, version, digest } = this.#recipe;
    const told = { pipeline, version, digest, memory_bytes: this.#embedder.memoryBytes };
    return ok(JSON.stringify(told), began_ms, {});
  }

  async #told({ request, settings }) {
    await checkToken(request, settings.metricsToken);
    this.#metrics.set("memory_bytes", this.#embedder.memoryBytes);
    this.#metrics.set("body_buffer_bytes", this.#bodies.bytes);
    this.#metrics.set("cache_bytes", this.#embeddings.bytes + this.#results.bytes);
    return new Response(this.#metrics.text(), { headers: { "content-type": "text/plain; version=0.0.4" } });
  }

  /** Whether this place computes what a node does. Asked again it is not computed again: no token is needed to ask. */
  async #warm({ began_ms }) {
    await this.#embedder.verify();
    if (!this.#isWarm && (await sha256(this.#embedder.warm())) !== this.#recipe.known.vector)
      throw new Refusal(503, "known picture: its vector is not the node's");
    this.#isWarm = true;
    return ok(JSON.stringify({ memory_bytes: this.#embedder.memoryBytes }), began_ms, {});
  }

  /** Tenant, picture, and under which key the two are remembered. */
  async #asked(call) {
    const { request, settings } = call;
    const tenant = await tenantOf(request, settings.tenants);
    const { BODY_BYTES_MAX, BODY_DEADLINE_MS } = settings;
    const { bytes: picture, release } = await this.#bodies.take(request, BODY_BYTES_MAX, BODY_DEADLINE_MS);
    call.release = release;
    checkedPicture(picture, settings.SIDE_MAX);
    const control = (request.headers.get("cache-control") ?? "").toLowerCase();
    const keeps = !control.includes("no-store");
    const key = `${tenant.name}/${this.#recipe.digest}/${await sha256(picture)}`;
    return { tenant, picture, key, keeps, reads: keeps && !control.includes("no-cache") };
  }

  async #vector({ picture, key, keeps, reads }, { after, settings, release }) {
    const { embeddings: kv, EMBEDDING_TTL_S } = settings;
    const began_ms = performance.now();
    const known = reads ? await this.#embeddings.get(key, this.#recipe.output.size, kv, began_ms) : undefined;
    if (reads) this.#metrics.count("cache_total", { cache: "embedding", outcome: known ? "hit" : "miss" });
    if (known !== undefined) return { vector: known, how: { stages: {}, cache: "embedding" } };
    await this.#embedder.verify();
    const embedding_ms = performance.now();
    let vector;
    try {
      vector = this.#embedder.embed(picture);
      release(); // the search may take long
    } catch (error) {
      this.#metrics.count("embedding_failure_total", { reason: error instanceof Refusal ? "picture" : "guest" });
      throw error;
    }
    const done_ms = performance.now();
    if (keeps) after(this.#embeddings.put(key, vector, kv, EMBEDDING_TTL_S, done_ms));
    return { vector, how: { stages: { embed: done_ms - embedding_ms }, cache: null } };
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

function nested(values, shape) {
  const plain = Array.from(values, (value) => (Number.isFinite(value) ? value : null));
  return shape.slice(1).reduceRight((rows, size) => chunks(rows, size), plain);
}

const chunks = (rows, size) => Array.from({ length: rows.length / size }, (_, i) => rows.slice(i * size, (i + 1) * size));

/** @param {string} result JSON */
function ok(result, began_ms, how) {
  const body = `{"result":${result},"status":"ok","time":${(performance.now() - began_ms) / 1000}}`;
  return new Response(body, { headers: { ...JSON_TYPE, "littoral-how": JSON.stringify(how) } });
}

function refusal(error, began_ms) {
  const isOurs = error instanceof Refusal;
  if (!isOurs) console.error(error);
  const told = isOurs ? error.message : "internal error";
  const body = { status: { error: told }, time: (performance.now() - began_ms) / 1000 };
  const headers = { ...JSON_TYPE, ...(isOurs ? error.headers : {}) };
  return new Response(JSON.stringify(body), { status: isOurs ? error.status : 500, headers });
}
