import { within } from "./deadline.mjs";
import { Reading } from "./reading.mjs";
import { Refusal } from "./refusal.mjs";
import { Rooms } from "./rooms.mjs";

const UNREAD_BYTES_MAX = 16 << 20;
const UNREAD_MS_MAX = 5000;
const FIRST_BYTES = 64 << 10; // more only as it comes: who declares much and sends little takes no more

/**
 * Bodies of requests, in buffers that are used again: what each request left to the garbage collector would be as large
 * as its picture.
 */
export class Bodies {
  #rooms = new Rooms();

  /** @returns {number} of all buffers */
  get bytes() {
    return this.#rooms.bytes;
  }

  /**
   * The body, if the request says that it is of one of the types and is not too long, whatever length it declares. Its
   * bytes are the request's own until `release`, which may be called twice.
   * @param {Request} request
   * @param {string[]} types of content; none = any
   * @param {{bytes: number, ms: number}} most ms: until it has come
   * @returns {Promise<{bytes: Uint8Array, type: string, release: () => void}>}
   */
  async take(request, types, { bytes: bytesMax, ms: msMax }) {
    const type = checkedType(request, types, bytesMax);
    if (request.body === null) return { bytes: new Uint8Array(), type, release() {} };
    const room = this.#rooms.take(Math.min(FIRST_BYTES, bytesMax + 1), bytesMax + 1);
    const reading = new Reading(request.body, this.#rooms, room, declaredBytes(request));
    const late = new Refusal(408, `body did not come in ${msMax} ms`);
    await this.#read(reading, () => filled(reading, bytesMax + 1), msMax, late);
    const buffer = reading.end();
    let isLent = true;
    const release = () => {
      if (isLent) this.#rooms.give(buffer);
      isLent = false;
    };
    if (reading.length <= bytesMax) return { bytes: new Uint8Array(buffer, 0, reading.length), type, release };
    release();
    throw tooLong(bytesMax);
  }

  /**
   * Takes what a refused request still sends, up to a bound: an answer in the middle of a body may never be read.
   * @param {Request} request
   */
  async drain(request) {
    if (request.body === null || request.body.locked) return;
    const room = this.#rooms.take(FIRST_BYTES, FIRST_BYTES);
    const reading = new Reading(request.body, this.#rooms, room, declaredBytes(request));
    await this.#read(reading, () => emptied(reading), UNREAD_MS_MAX, new Refusal(408, "late"));
    this.#rooms.give(reading.end());
  }

  async #read(reading, work, msMax, late) {
    try {
      await within(work(), msMax, late);
    } catch (error) {
      reading.drop();
      throw error;
    }
  }
}

function checkedType(request, types, bytesMax) {
  const type = (request.headers.get("content-type") ?? "").split(";")[0].trim().toLowerCase();
  if (types.length && !types.includes(type))
    throw new Refusal(415, `content type is \`${type.slice(0, 80)}\`, expected ${types.join(", ")}`);
  const encoding = request.headers.get("content-encoding") ?? "identity";
  if (encoding !== "identity") throw new Refusal(415, `content encoding is \`${encoding.slice(0, 80)}\`, expected none`);
  if (declaredBytes(request) > bytesMax) throw tooLong(bytesMax);
  return type;
}

const declaredBytes = (request) => Number(request.headers.get("content-length") ?? NaN);

/** Until the stream ends, or has `most` bytes. */
async function filled(reading, most) {
  for (;;) {
    if (await reading.more()) return;
    if (reading.length >= most) return;
    if (reading.isFull) reading.grow(most);
  }
}

async function emptied(reading) {
  for (let taken = 0; taken < UNREAD_BYTES_MAX; taken += reading.length) {
    reading.clear();
    if (await reading.more()) return;
  }
}

const tooLong = (most) => new Refusal(413, `body of more than ${most} bytes`);
