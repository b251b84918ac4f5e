import { Refusal } from "./refusal.mjs";

const UNREAD_BYTES_MAX = 16 << 20;
const KEPT_MAX = 4;

/**
 * Bodies of requests, in buffers that are used again: what each request left to the garbage collector would be as large
 * as its picture.
 */
export class Bodies {
  #free = [];

  /**
   * The body, if the request says that it is of one of the types and is not too long, whatever length it declares. Its
   * bytes are the request's own until `release`.
   * @param {Request} request
   * @param {string[]} types of content; none = any
   * @param {number} bytesMax
   * @returns {Promise<{bytes: Uint8Array, type: string, release: () => void}>}
   */
  async take(request, types, bytesMax) {
    const type = checkedType(request, types, bytesMax);
    const room = this.#free.pop() ?? new ArrayBuffer(bytesMax + 1);
    const { buffer, length } = await filled(request.body, room);
    const release = () => this.#free.length < KEPT_MAX && this.#free.push(buffer);
    if (length <= bytesMax) return { bytes: new Uint8Array(buffer, 0, length), type, release };
    release();
    throw tooLong(bytesMax);
  }
}

function checkedType(request, types, bytesMax) {
  const type = (request.headers.get("content-type") ?? "").split(";")[0].trim().toLowerCase();
  if (types.length && !types.includes(type))
    throw new Refusal(415, `content type is \`${type.slice(0, 80)}\`, expected ${types.join(", ")}`);
  const encoding = request.headers.get("content-encoding") ?? "identity";
  if (encoding !== "identity") throw new Refusal(415, `content encoding is \`${encoding.slice(0, 80)}\`, expected none`);
  if (Number(request.headers.get("content-length") ?? 0) > bytesMax) throw tooLong(bytesMax);
  return type;
}

/** The stream's bytes from the start of the buffer on, until it ends or the buffer is full: one byte too many. */
async function filled(stream, buffer) {
  if (stream === null) return { buffer, length: 0 };
  const reader = byteReader(stream);
  let length = 0;
  while (length < buffer.byteLength) {
    const { value, done } = await reader.read(new Uint8Array(buffer, length));
    buffer = value.buffer;
    length += value.byteLength;
    if (done) break;
  }
  reader.releaseLock();
  return { buffer, length };
}

/** Reads into a view that it is given, also from a stream that hands out pieces of its own. */
function byteReader(stream) {
  try {
    return stream.getReader({ mode: "byob" });
  } catch {
    return pieceReader(stream.getReader());
  }
}

function pieceReader(reader) {
  let piece = new Uint8Array();
  return {
    async read(view) {
      let done = false;
      if (piece.length === 0) ({ value: piece = new Uint8Array(), done } = await reader.read());
      const part = piece.subarray(0, view.length);
      piece = piece.subarray(part.length);
      view.set(part);
      return { value: view.subarray(0, part.length), done };
    },
    releaseLock: () => reader.releaseLock(),
  };
}

/**
 * Takes what a refused request still sends, up to a bound: an answer in the middle of a body may never be read.
 * @param {Request} request
 */
export async function drain(request) {
  if (request.body === null || request.body.locked) return;
  const reader = request.body.getReader();
  let length = 0;
  for (let part = await reader.read(); !part.done && length < UNREAD_BYTES_MAX; part = await reader.read())
    length += part.value.length;
}

const tooLong = (most) => new Refusal(413, `body of more than ${most} bytes`);
