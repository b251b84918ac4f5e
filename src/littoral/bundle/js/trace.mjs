import { hex } from "./digest.mjs";

const PARENT = /^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?$/;
const ZEROS = /^0+$/;
const KNOWN_FLAGS = 0b11; // sampled, random trace id
const STATE_CHARACTERS_MAX = 512;
const STATE_MEMBERS_MAX = 32;
const MEMBER = /^[a-z0-9][a-z0-9_*/@-]{0,255}=[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e]$/;

/**
 * Headers of W3C Trace Context for what is asked on a request's behalf; none where it brought none that is well-formed.
 * @param {Request} request
 * @returns {Record<string, string>}
 */
export function traceHeaders(request) {
  const [, version, trace, span, flags, more] = PARENT.exec(request.headers.get("traceparent") ?? "") ?? [];
  if (trace === undefined || version === "ff" || (version === "00" && more)) return {};
  if (ZEROS.test(trace) || ZEROS.test(span)) return {};
  const own = hex(crypto.getRandomValues(new Uint8Array(8)));
  const known = hex([Number.parseInt(flags, 16) & KNOWN_FLAGS]);
  return { traceparent: `00-${trace}-${own}-${known}`, ...stateOf(request.headers.get("tracestate") ?? "") };
}

function stateOf(text) {
  if (text.length > STATE_CHARACTERS_MAX) return {};
  const members = text.split(",").map((member) => member.trim()).filter(Boolean);
  const isGood = members.length > 0 && members.length <= STATE_MEMBERS_MAX && members.every((member) => MEMBER.test(member));
  return isGood ? { tracestate: members.join(",") } : {};
}
