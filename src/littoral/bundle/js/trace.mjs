import { hex } from "./digest.mjs";

const PARENT = /^(?!ff)[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})$/;

/**
 * Headers of W3C Trace Context for what is asked on a request's behalf; none where it brought none that is well-formed.
 * @param {Request} request
 * @returns {Record<string, string>}
 */
export function traceHeaders(request) {
  const [, trace, span, flags] = PARENT.exec(request.headers.get("traceparent") ?? "") ?? [];
  if (trace === undefined || /^0+$/.test(trace) || /^0+$/.test(span)) return {};
  const own = hex(crypto.getRandomValues(new Uint8Array(8)));
  const state = request.headers.get("tracestate");
  return { traceparent: `00-${trace}-${own}-${flags}`, ...(state && state.length <= 512 ? { tracestate: state } : {}) };
}
