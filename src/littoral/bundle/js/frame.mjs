/**
 * Reads a safetensors frame of one tensor, such as an agent answers with.
 * @param {Uint8Array} frame
 * @returns {{dtype: string, shape: number[], data: Uint8Array}} data: a view of the frame
 */
export function onlyTensor(frame) {
  const length = Number(new DataView(frame.buffer, frame.byteOffset).getBigUint64(0, true));
  const header = JSON.parse(new TextDecoder().decode(frame.subarray(8, 8 + length)));
  const names = Object.keys(header).filter((name) => name !== "__metadata__");
  if (names.length !== 1) throw new Error(`agent answered with ${names.length} tensors, expected one`);
  const { dtype, shape, data_offsets: [start, stop] } = header[names[0]];
  return { dtype, shape, data: frame.subarray(8 + length + start, 8 + length + stop) };
}

/**
 * A safetensors frame of one float32 tensor.
 * @param {string} name
 * @param {number[]} shape
 * @param {Float32Array} values
 * @returns {Uint8Array}
 */
export function frameOf(name, shape, values) {
  const told = JSON.stringify({ [name]: { dtype: "F32", shape, data_offsets: [0, values.byteLength] } });
  const header = new TextEncoder().encode(told.padEnd(Math.ceil(told.length / 8) * 8));
  const frame = new Uint8Array(8 + header.length + values.byteLength);
  new DataView(frame.buffer).setBigUint64(0, BigInt(header.length), true);
  frame.set(header, 8);
  frame.set(new Uint8Array(values.buffer, values.byteOffset, values.byteLength), 8 + header.length);
  return frame;
}
