/** A stream, read into one buffer after the other of those that are used again. */
export class Reading {
  #reader;
  #rooms;
  #room;
  #size;
  #length = 0;
  #taken = 0;
  #declared;
  #isDropped = false;

  /**
   * @param {ReadableStream} stream
   * @param {import("./rooms.mjs").Rooms} rooms
   * @param {ArrayBuffer} room of `rooms`
   * @param {number} declared bytes that end the stream, NaN where it says nothing
   */
  constructor(stream, rooms, room, declared) {
    this.#declared = declared;
    this.#reader = byteReader(stream);
    this.#rooms = rooms;
    this.#room = room;
    this.#size = room.byteLength;
  }

  /** @returns {number} bytes in the buffer, from its start on */
  get length() {
    return this.#length;
  }

  get isFull() {
    return this.#length === this.#size;
  }

  /** Reads on until the buffer is full, or less. @returns {Promise<boolean>} whether the stream has ended */
  async more() {
    const view = new Uint8Array(this.#room, this.#length);
    const { value, done } = await this.#reader.read(view, { min: view.length }); // each read leaves objects behind
    if (value !== undefined) this.#room = value.buffer;
    this.#length += value?.byteLength ?? 0;
    this.#taken += value?.byteLength ?? 0;
    return done || this.#isDropped || this.#taken === this.#declared;
  }

  /** Forgets what is there. */
  clear() {
    this.#length = 0;
  }

  /** Goes on in a larger buffer: for all that was declared, now that some of it has come. */
  grow(most) {
    const declared = Number.isNaN(this.#declared) ? 0 : this.#declared;
    const larger = this.#rooms.take(Math.min(most, Math.max(declared, this.#size + 1)), most);
    new Uint8Array(larger).set(new Uint8Array(this.#room));
    this.#rooms.give(this.#room);
    this.#room = larger;
    this.#size = larger.byteLength;
  }

  /** @returns {ArrayBuffer} the buffer; the stream may be read by another */
  end() {
    this.#reader.releaseLock();
    return this.#room;
  }

  /** Ends in the middle. A buffer that the stream still has is not waited for. */
  drop() {
    this.#isDropped = true;
    if (this.#room.byteLength > 0) this.#rooms.give(this.#room);
    else this.#rooms.lose(this.#size);
    this.#reader.cancel().catch(() => {});
  }
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
    cancel: () => reader.cancel(),
  };
}
