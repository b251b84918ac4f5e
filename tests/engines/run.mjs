// What every JavaScript host does with a case: put the inputs in place, call, take the outputs. `help(module, memory,
// number)` starts a thread that is in the module's `help` soon after.
export async function run(wasm, { entry, writes, reads, threads, pages }, input, help) {
  const module = await WebAssembly.compile(wasm);
  const shared = threads > 1 ? new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true }) : null;
  const { exports } = await WebAssembly.instantiate(module, shared ? { littoral: { memory: shared } } : {});
  const memory = new Uint8Array((shared ?? exports.memory).buffer);
  await Promise.all(Array.from({ length: threads - 1 }, (_, i) => help(module, shared, i + 1)));
  let at = 0;
  for (const [offset, bytes] of writes) {
    memory.set(input.subarray(at, at + bytes), offset);
    at += bytes;
  }
  exports[entry]();
  const output = new Uint8Array(reads.reduce((sum, [, bytes]) => sum + bytes, 0));
  at = 0;
  for (const [offset, bytes] of reads) {
    output.set(memory.subarray(offset, offset + bytes), at);
    at += bytes;
  }
  if (threads > 1) exports.stop();
  return output;
}

// One of those threads, from its first message on.
export async function helper({ module, memory, number }, tell) {
  const { exports } = await WebAssembly.instantiate(module, { littoral: { memory } });
  tell("ready");
  exports.help(number);
}
