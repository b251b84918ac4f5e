// What every JavaScript host does with a case: put the inputs in place, call, take the outputs.
export async function run(wasm, { entry, writes, reads }, input) {
  const { instance } = await WebAssembly.instantiate(wasm, {});
  const memory = new Uint8Array(instance.exports.memory.buffer);
  let at = 0;
  for (const [offset, bytes] of writes) {
    memory.set(input.subarray(at, at + bytes), offset);
    at += bytes;
  }
  instance.exports[entry]();
  const output = new Uint8Array(reads.reduce((sum, [, bytes]) => sum + bytes, 0));
  at = 0;
  for (const [offset, bytes] of reads) {
    output.set(memory.subarray(offset, offset + bytes), at);
    at += bytes;
  }
  return output;
}
