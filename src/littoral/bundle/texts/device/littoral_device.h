/* Pipeline `$pipeline`, version $version: $given in, $made out. Made by `littoral bundle`.
 *
 * struct littoral_pipeline pipeline;
 * const char* error = littoral_open(&pipeline);        once; NULL, or what is wrong
 * memcpy(littoral_input(&pipeline), samples, LITTORAL_INPUT_BYTES);   before each run: a run may overwrite its input
 * error = littoral_run(&pipeline);
 * memcpy(&score, littoral_output(&pipeline), LITTORAL_OUTPUT_BYTES);  little-endian, as all of a module's memory
 */
#ifndef LITTORAL_DEVICE_H
#define LITTORAL_DEVICE_H

#include <stdint.h>

#define LITTORAL_VERSION "$version"
#define LITTORAL_INPUT_BYTES ${input_bytes}u
#define LITTORAL_OUTPUT_BYTES ${output_bytes}u
#define LITTORAL_MEMORY_BYTES ${memory_bytes}u /* of all stages */
#define LITTORAL_STACK_BYTES ${stack_bytes}u /* of the interpreter, each stage */
#define LITTORAL_STAGES $count

struct littoral_stage {
  const char* name;
  const char* entry;
  const unsigned char* wasm; /* stays where it is: in flash */
  uint32_t wasm_bytes, memory_bytes, input_offset, input_bytes, output_offset, output_bytes;
};

extern const struct littoral_stage LITTORAL_STAGE[LITTORAL_STAGES];

struct littoral_pipeline {
  void* environment;
  struct {
    void* runtime;
    void* entry;
  } stages[LITTORAL_STAGES];
};

const char* littoral_open(struct littoral_pipeline* pipeline);
void* littoral_input(const struct littoral_pipeline* pipeline);
const char* littoral_run(struct littoral_pipeline* pipeline);
const void* littoral_output(const struct littoral_pipeline* pipeline);
void littoral_close(struct littoral_pipeline* pipeline);

#endif
