import { Refusal } from "./refusal.mjs";

const LEAST_BYTES = 64 << 10;
const STEP = 4; // from one size to the next
const ALL_BYTES_MAX = 16 << 20;

/**
 * Buffers that are used again. All there are, lent or not, take no more than a bound, so that neither many requests at
 * once nor a late garbage collector decide what an isolate takes.
 */
export class Rooms {
  #free = []; // smallest first
  #bytes = 0;

  /** @returns {number} of all buffers, lent or not */
  get bytes() {
    return this.#bytes;
  }

  /**
   * @param {number} least bytes
   * @param {number} most bytes of one buffer, `least` or more
   * @returns {ArrayBuffer} one that is free, or a new one, of the next size or of `most`
   */
  take(least, most) {
    const at = this.#free.findIndex((room) => room.byteLength >= least);
    if (at >= 0) return this.#free.splice(at, 1)[0];
    const size = Math.min(most, sizeOf(least));
    const bound = Math.max(ALL_BYTES_MAX, 2 * most);
    while (this.#bytes + size > bound && this.#free.length > 0) this.lose(this.#free.shift().byteLength);
    if (this.#bytes + size > bound) throw new Refusal(503, "too many pictures at once", { "retry-after": "1" });
    this.#bytes += size;
    return new ArrayBuffer(size);
  }

  /** @param {ArrayBuffer} room one that `take` gave, or what a stream made of it */
  give(room) {
    const at = this.#free.findIndex(({ byteLength }) => byteLength >= room.byteLength);
    this.#free.splice(at < 0 ? this.#free.length : at, 0, room);
  }

  /** @param {number} bytes of a buffer that does not come back */
  lose(bytes) {
    this.#bytes -= bytes;
  }
}

function sizeOf(least) {
  let size = LEAST_BYTES;
  while (size < least) size *= STEP;
  return size;
}
