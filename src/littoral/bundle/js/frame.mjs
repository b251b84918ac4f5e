import { dtypeOf, frameNameOf } from "./tensors.mjs";

const LENGTH_BYTES = 8;
const HEADER_BYTES_MAX = 1 << 16;

/**
 * Reads a safetensors frame.
 * @param {Uint8Array} frame
 * @returns {Record<string, import("./tensors.mjs").Tensor>} views of the frame
 */
export function tensorsOf(frame) {
  const found = Object.create(null);
  if (frame.length < LENGTH_BYTES) throw new Error("frame is cut off");
  const length = Number(new DataView(frame.buffer, frame.byteOffset).getBigUint64(0, true));
  const start = LENGTH_BYTES + length;
  if (length > HEADER_BYTES_MAX || start > frame.length) throw new Error(`frame has a header of ${length} bytes`);
  const header = JSON.parse(new TextDecoder().decode(frame.subarray(LENGTH_BYTES, start)));
  for (const [name, told] of Object.entries(header)) {
    if (name === "__metadata__") continue;
    const [from, to] = told.data_offsets;
    const dtype = dtypeOf(told.dtype);
    if (dtype === undefined) throw new Error(`tensor \`${name.slice(0, 80)}\` has dtype ${String(told.dtype).slice(0, 20)}`);
    found[name] = { dtype, shape: told.shape, bytes: frame.subarray(start + from, start + to) };
  }
  return found;
}

/**
 * A safetensors frame.
 * @param {Record<string, import("./tensors.mjs").Tensor>} tensors
 * @returns {Uint8Array}
 */
export function frameOf(tensors) {
  const told = {};
  let size = 0;
  for (const [name, { dtype, shape, bytes }] of Object.entries(tensors))
    told[name] = { dtype: frameNameOf(dtype), shape, data_offsets: [size, (size += bytes.length)] };
  const text = new TextEncoder().encode(JSON.stringify(told));
  const start = LENGTH_BYTES + Math.ceil(text.length / 8) * 8;
  const frame = new Uint8Array(start + size).fill(0x20, 0, start);
  new DataView(frame.buffer).setBigUint64(0, BigInt(start - LENGTH_BYTES), true);
  frame.set(text, LENGTH_BYTES);
  for (const [name, { bytes }] of Object.entries(tensors)) frame.set(bytes, start + told[name].data_offsets[0]);
  return frame;
}
