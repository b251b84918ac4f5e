import { Refusal } from "./refusal.mjs";

const ANSWER_BYTES_MAX = 1 << 20;

/** A failed question. isWorthAnother: whether another endpoint, or a second try, may do better. */
class Unanswered extends Error {
  constructor(reason, message, isWorthAnother) {
    super(message);
    this.reason = reason;
    this.isWorthAnother = isWorthAnother;
  }
}

/**
 * The nearest points, from the endpoint for the caller's region. After `hedge_ms`, or as soon as it fails, one second
 * question goes to the next endpoint (to the same one if there is no other); the first good answer counts.
 * @param {{url: string, regions: string[], key: string}[]} endpoints
 * @param {{collection: string, body: object, places: string[], headers: Record<string, string>}} question
 * @param {{deadline_ms: number, hedge_ms: number}} times
 * @param {import("./metrics.mjs").Metrics} metrics
 * @returns {Promise<{id: unknown, score: number, payload: unknown}[]>}
 */
export async function nearest(endpoints, question, times, metrics) {
  const ordered = byRegion(endpoints, question.places);
  if (ordered.length === 0) throw new Refusal(503, "binding `ENDPOINTS` names no vector database");
  const body = JSON.stringify(question.body);
  const ended = new AbortController();
  const deadline = setTimeout(() => ended.abort("deadline"), times.deadline_ms);
  const ask = (endpoint) => asked(endpoint, question, body, ended.signal, metrics);
  try {
    return await hedged(ask, ordered, times.hedge_ms, metrics);
  } catch (error) {
    if (!(error instanceof Unanswered)) throw error;
    const isLate = error.reason === "deadline";
    throw new Refusal(isLate ? 504 : 502, isLate ? `vector database: no answer in ${times.deadline_ms} ms` : error.message);
  } finally {
    clearTimeout(deadline);
    ended.abort("answered");
  }
}

/** Those for one of the places first, in their order, then the others. */
export function byRegion(endpoints, places) {
  const isNear = ({ regions }) => regions.some((region) => places.includes(region));
  return [...endpoints.filter(isNear), ...endpoints.filter((endpoint) => !isNear(endpoint))];
}

async function hedged(ask, [first, second = first], hedge_ms, metrics) {
  const answers = [ask(first)];
  const failed = answers[0].then(() => null, (error) => error);
  let timer;
  const late = new Promise((resolve) => (timer = setTimeout(resolve, hedge_ms, "late")));
  const outcome = await Promise.race([failed, late]);
  clearTimeout(timer);
  if (outcome === null || (outcome !== "late" && !outcome.isWorthAnother)) return answers[0];
  metrics.count("vector_db_hedge_total");
  answers.push(ask(second));
  try {
    return await Promise.any(answers);
  } catch (all) {
    throw all.errors.at(-1);
  }
}

async function asked({ url, key }, { collection, headers }, body, signal, metrics) {
  try {
    const answer = await fetch(`${url}/collections/${encodeURIComponent(collection)}/points/query`, {
      method: "POST",
      headers: { "content-type": "application/json", ...headers, ...(key ? { "api-key": key } : {}) },
      body,
      signal,
      redirect: "manual", // to wherever it leads the key would go along
    });
    return points(answer.status, await boundedText(answer));
  } catch (error) {
    const found = error instanceof Unanswered ? error : unreached(error, signal);
    if (signal.reason !== "answered") metrics.count("vector_db_error_total", { reason: found.reason });
    throw found;
  }
}

function unreached(error, signal) {
  const reason = signal.aborted ? String(signal.reason) : "network";
  return new Unanswered(reason, `vector database: ${reason === "network" ? "cannot be reached" : error}`, !signal.aborted);
}

function points(status, text) {
  if (status !== 200) {
    const isTheirs = status >= 500 || status === 429 || status === 408;
    throw new Unanswered(`status_${status}`, `vector database answered ${status}: ${reasonOf(text)}`, isTheirs);
  }
  let found;
  try {
    found = JSON.parse(text).result.points;
  } catch {
    found = null;
  }
  if (!Array.isArray(found)) throw new Unanswered("answer", "vector database: answer without `result.points`", true);
  return found.map(({ id, score, payload = null }) => ({ id, score, payload }));
}

function reasonOf(text) {
  try {
    return String(JSON.parse(text).status.error).slice(0, 300);
  } catch {
    return "no reason";
  }
}

/** Whatever length the answer declares. One that declares its length is taken at once, which leaves less behind. */
async function boundedText(answer) {
  if (answer.body === null) return "";
  const declared = answer.headers.get("content-encoding") === null ? answer.headers.get("content-length") : null;
  if (declared !== null && Number(declared) <= ANSWER_BYTES_MAX) return answer.text();
  const decoder = new TextDecoder();
  const reader = answer.body.getReader();
  let text = "";
  let length = 0;
  for (let part = await reader.read(); !part.done; part = await reader.read()) {
    length += part.value.length;
    if (length > ANSWER_BYTES_MAX)
      throw new Unanswered("answer", `vector database: answer over ${ANSWER_BYTES_MAX} bytes`, false);
    text += decoder.decode(part.value, { stream: true });
  }
  return text + decoder.decode();
}
