import { frameOf } from "./frame.mjs";
import { Refusal } from "./refusal.mjs";
import { nested } from "./tensors.mjs";

export const OCTETS = "application/octet-stream";
const SAFETENSORS = "application/x-safetensors";
const JSON_TYPE = { "content-type": "application/json; charset=utf-8" };

/** @param {Request} request @param {string} type of content */
export const accepts = (request, type) => (request.headers.get("accept") ?? "").includes(type);

/**
 * Bytes, tensors or hits, in the form that is asked for.
 * @param {Uint8Array | object[] | Record<string, import("./tensors.mjs").Tensor>} value
 * @param {{request: Request, began_ms: number}} call
 * @param {object} how it was made, for the header
 * @param {object} [more] beside the result
 */
export function told(value, { request, began_ms }, how, more) {
  const as = (data, type) => new Response(data, { headers: { "content-type": type, "littoral-how": JSON.stringify(how) } });
  if (Array.isArray(value)) return ok(value, began_ms, how, more);
  if (value instanceof Uint8Array) {
    if (accepts(request, OCTETS)) return as(value, OCTETS);
    return ok({ outputs: { output: textOf(value) } }, began_ms, how, more);
  }
  if (accepts(request, SAFETENSORS)) return as(frameOf(value), SAFETENSORS);
  const outputs = Object.entries(value).map(([name, tensor]) => [name, { dtype: tensor.dtype, shape: tensor.shape, data: nested(tensor) }]);
  return ok({ outputs: Object.fromEntries(outputs) }, began_ms, how, more);
}

/** Text where it is some, else Base64. */
function textOf(bytes) {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    const letters = Array.from(bytes, (byte) => String.fromCharCode(byte)).join("");
    return { dtype: "bytes", shape: [bytes.length], data: btoa(letters) };
  }
}

/** @param {unknown} result @param {number} began_ms @param {object} how @param {object} [more] beside the result */
export function ok(result, began_ms, how, more) {
  return okOf(JSON.stringify(result), began_ms, how, more);
}

/** As `ok`, of a result that is JSON already. */
export function okOf(result, began_ms, how, more = {}) {
  const about = JSON.stringify({ status: "ok", time: (performance.now() - began_ms) / 1000, ...more });
  const body = `{"result":${result},${about.slice(1)}`;
  return new Response(body, { headers: { ...JSON_TYPE, "littoral-how": JSON.stringify(how) } });
}

/** @param {Error} error @param {number} began_ms */
export function refusal(error, began_ms) {
  const isOurs = error instanceof Refusal;
  if (!isOurs) console.error(error);
  const body = { status: { error: isOurs ? error.message : "internal error" }, time: (performance.now() - began_ms) / 1000 };
  const headers = { ...JSON_TYPE, ...(isOurs ? error.headers : {}) };
  return new Response(JSON.stringify(body), { status: isOurs ? error.status : 500, headers });
}
