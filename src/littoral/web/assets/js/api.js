/** Asking the node. Every answer is JSON, every request has an end. */

const ANSWER_MS_MAX = 30_000;
const FILE_MS_MAX = 30 * 60_000;

/** The node refused, failed or was not there. status: HTTP status, 0 without an answer. */
export class NodeError extends Error {
  constructor(message, status) {
    super(message);
    this.name = "NodeError";
    this.status = status;
  }

  /** Whether the same request may succeed later. */
  get isPassing() {
    return this.status === 0 || this.status === 429 || this.status >= 500;
  }
}

export function getJson(path, signal) {
  return request(path, {}, signal);
}

export function postJson(path, body, signal) {
  return sendJson("POST", path, body, signal);
}

/** Another method; without a body where none is given. */
export function sendJson(method, path, body, signal) {
  if (body === undefined) return request(path, { method }, signal);
  return request(path, { method, headers: { "content-type": "application/json" }, body: JSON.stringify(body) }, signal);
}

/** Bytes as they are, for a path that takes them. */
export function postBytes(path, data, signal) {
  return request(path, { method: "POST", headers: { "content-type": "application/octet-stream" }, body: data }, signal);
}

/** A file of any size: it takes its time. */
export function postFile(path, file, signal) {
  return request(path, { method: "POST", headers: { "content-type": "application/octet-stream" }, body: file }, signal, FILE_MS_MAX);
}

/** A pipeline's answer to a file's bytes: `{result, how, time}`. Raises NodeError; AbortError when `signal` says so. */
export function askPipeline(name, file, signal) {
  const headers = { "content-type": "application/octet-stream" };
  return request(`/pipelines/${encodeURIComponent(name)}`, { method: "POST", headers, body: file }, signal);
}

async function request(path, { headers, ...rest }, signal, answerMsMax = ANSWER_MS_MAX) {
  const limit = AbortSignal.timeout(answerMsMax);
  const either = signal ? AbortSignal.any([signal, limit]) : limit;
  let response;
  let text;
  try {
    response = await fetch(path, { ...rest, headers: { accept: "application/json", ...headers }, signal: either });
    text = await response.text();
  } catch (error) {
    if (signal?.aborted) throw error;
    if (limit.aborted) throw new NodeError(`No answer in ${answerMsMax / 1000} seconds`, 0);
    throw new NodeError("The node cannot be reached", 0);
  }
  const body = parsed(text);
  if (!response.ok) throw new NodeError(told(body) ?? `${response.status} ${response.statusText}`.trim(), response.status);
  if (body === undefined) throw new NodeError(`The answer to \`${path}\` is not JSON`, response.status);
  return body;
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** The sentence in any of the node's error shapes. */
function told(body) {
  return [body?.status?.error, body?.error?.message, body?.error].find((found) => typeof found === "string");
}
