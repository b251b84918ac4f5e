import { Refusal } from "./refusal.mjs";

const TYPES = ["image/jpeg", "image/png", "application/octet-stream"];

/**
 * The body of a request, if it says that it is a picture and is not too long, whatever length it declares.
 * @param {Request} request
 * @param {number} bytesMax
 * @returns {Promise<Uint8Array>}
 */
export async function pictureBody(request, bytesMax) {
  const type = (request.headers.get("content-type") ?? "").split(";")[0].trim().toLowerCase();
  if (!TYPES.includes(type))
    throw new Refusal(415, `content type is \`${type.slice(0, 80)}\`, expected ${TYPES.join(", ")}`);
  const encoding = request.headers.get("content-encoding") ?? "identity";
  if (encoding !== "identity") throw new Refusal(415, `content encoding is \`${encoding.slice(0, 80)}\`, expected none`);
  const declared = Number(request.headers.get("content-length") ?? 0);
  if (declared > bytesMax) throw tooLong(bytesMax);
  return gathered(request.body, bytesMax);
}

async function gathered(stream, bytesMax) {
  const parts = [];
  let length = 0;
  for await (const part of stream ?? []) {
    length += part.length;
    if (length > bytesMax) throw tooLong(bytesMax);
    parts.push(part);
  }
  if (parts.length === 1) return parts[0];
  const whole = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

const tooLong = (most) => new Refusal(413, `body of more than ${most} bytes`);
