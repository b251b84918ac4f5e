/** Element types, by the name that a manifest has for them: what holds them here, and what a frame calls them. */
const ELEMENTS = {
  float32: [Float32Array, "F32"],
  float64: [Float64Array, "F64"],
  int8: [Int8Array, "I8"],
  int16: [Int16Array, "I16"],
  int32: [Int32Array, "I32"],
  int64: [BigInt64Array, "I64"],
  uint8: [Uint8Array, "U8"],
  uint16: [Uint16Array, "U16"],
  uint32: [Uint32Array, "U32"],
  uint64: [BigUint64Array, "U64"],
  bool: [Uint8Array, "BOOL"],
};
const DELEMENTS = Object.fromEntries(Object.entries(ELEMENTS).map(([dtype, [, told]]) => [told, dtype]));

/**
 * @typedef {object} Tensor
 * @property {string} dtype
 * @property {number[]} shape
 * @property {Uint8Array} bytes
 */

/** @param {string} told in a frame @returns {string | undefined} */
export const dtypeOf = (told) => DELEMENTS[told];

/** @param {string} dtype @returns {string} in a frame */
export const frameNameOf = (dtype) => ELEMENTS[dtype][1];

/** @param {number[]} shape */
export const countOf = (shape) => shape.reduce((count, size) => count * size, 1);

/** @param {string} dtype */
export const elementBytes = (dtype) => ELEMENTS[dtype][0].BYTES_PER_ELEMENT;

/**
 * Its elements where they lie, or a copy of them where they lie at an address that is no multiple of their size.
 * @param {Tensor} tensor
 */
export function valuesOf({ dtype, bytes }) {
  const [Values] = ELEMENTS[dtype];
  const at = bytes.byteOffset % Values.BYTES_PER_ELEMENT ? bytes.slice() : bytes;
  return new Values(at.buffer, at.byteOffset, at.byteLength / Values.BYTES_PER_ELEMENT);
}

/**
 * @param {string} dtype
 * @param {number[]} shape
 * @param {ArrayLike<number> | ArrayLike<bigint>} [values] default zero
 * @returns {Tensor}
 */
export function tensorOf(dtype, shape, values = countOf(shape)) {
  const made = new ELEMENTS[dtype][0](values);
  return { dtype, shape, bytes: new Uint8Array(made.buffer, made.byteOffset, made.byteLength) };
}

/**
 * Rows of rows, as JSON has them: null for what is no number, whole numbers beyond 2^53 rounded.
 * @param {Tensor} tensor
 */
export function nested(tensor) {
  const element = tensor.dtype === "bool" ? Boolean : tensor.dtype.includes("int64") ? Number : finite;
  const plain = Array.from(valuesOf(tensor), element);
  if (tensor.shape.length === 0) return plain[0];
  return tensor.shape.slice(1).reduceRight(chunks, plain);
}

const finite = (value) => (Number.isFinite(value) ? value : null);
const chunks = (rows, size) => Array.from({ length: size ? rows.length / size : 0 }, (_, i) => rows.slice(i * size, (i + 1) * size));

/**
 * The tensor with `size` elements along the dimension `at`, those behind its own filled.
 * @param {Tensor} tensor
 * @param {number} at
 * @param {number} size
 * @param {number | "repeat"} pad repeat: the last element of the dimension
 * @returns {Tensor}
 */
export function padded(tensor, at, size, pad) {
  const { dtype, shape } = tensor;
  const [source, target] = [valuesOf(tensor), tensorOf(dtype, shape.with(at, size))];
  const inner = countOf(shape.slice(at + 1));
  const [own, whole] = [shape[at] * inner, size * inner];
  const values = valuesOf(target);
  if (pad !== "repeat") values.fill(dtype.includes("int64") ? BigInt(pad) : pad);
  for (let from = 0, to = 0; to < values.length; from += own, to += whole) {
    values.set(source.subarray(from, from + own), to);
    if (pad === "repeat")
      for (let i = own; i < whole; i += inner) values.set(source.subarray(from + own - inner, from + own), to + i);
  }
  return target;
}

/**
 * `size` elements along the dimension `at`, from `start` on.
 * @param {Tensor} tensor
 * @returns {Tensor}
 */
export function cut(tensor, at, size, start = 0) {
  const { dtype, shape } = tensor;
  const [source, target] = [valuesOf(tensor), tensorOf(dtype, shape.with(at, size))];
  const inner = countOf(shape.slice(at + 1));
  const [own, kept] = [shape[at] * inner, size * inner];
  const values = valuesOf(target);
  for (let from = start * inner, to = 0; to < values.length; from += own, to += kept)
    values.set(source.subarray(from, from + kept), to);
  return target;
}

/**
 * Tensors behind each other along the dimension `at`.
 * @param {Tensor[]} tensors
 * @returns {Tensor}
 */
export function joined(tensors, at) {
  const [{ dtype, shape }] = tensors;
  const target = tensorOf(dtype, shape.with(at, tensors.reduce((sum, tensor) => sum + tensor.shape[at], 0)));
  const values = valuesOf(target);
  const whole = countOf(target.shape.slice(at));
  let start = 0;
  for (const tensor of tensors) {
    const own = countOf(tensor.shape.slice(at));
    const source = valuesOf(tensor);
    for (let from = 0, to = start; from < source.length; from += own, to += whole)
      values.set(source.subarray(from, from + own), to);
    start += own;
  }
  return target;
}
