/* A pipeline of compiled models in WAMR's interpreter. Nothing is allocated after littoral_open; one run at a time.
 * WAMR writes into a module while it loads it, so each is copied into memory for as long as it is open. */

#include "littoral_device.h"

#include <stdlib.h>
#include <string.h>
#include <wasm_export.h>

#define FRAMES_BYTES 2048u /* of the interpreter's own, for the entry and a kernel */

struct opened {
  uint8_t* wasm;
  wasm_module_t module;
  wasm_module_inst_t instance;
  wasm_exec_env_t calls;
};

static char why[128];

static unsigned char* memory_of(const struct littoral_pipeline* p, int stage) {
  return wasm_runtime_addr_app_to_native(((struct opened*)p->stages[stage].runtime)->instance, 0);
}

static const char* open_stage(struct littoral_pipeline* p, int stage) {
  const struct littoral_stage* known = &LITTORAL_STAGE[stage];
  const uint32_t stack = LITTORAL_STACK_BYTES + FRAMES_BYTES;
  struct opened* own = calloc(1, sizeof *own);
  if (!own) return "no memory for the interpreter";
  p->stages[stage].runtime = own;
  if (!(own->wasm = malloc(known->wasm_bytes))) return "no memory for the module";
  memcpy(own->wasm, known->wasm, known->wasm_bytes);
  if (!(own->module = wasm_runtime_load(own->wasm, known->wasm_bytes, why, sizeof why))) return why;
  if (!(own->instance = wasm_runtime_instantiate(own->module, stack, 0, why, sizeof why))) return why;
  if (!(own->calls = wasm_runtime_create_exec_env(own->instance, stack))) return "no memory for the stack";
  if (!wasm_runtime_validate_app_addr(own->instance, 0, known->memory_bytes)) return "the module has another memory than it should";
  p->stages[stage].entry = wasm_runtime_lookup_function(own->instance, known->entry, NULL);
  return p->stages[stage].entry ? NULL : "the module has no such entry";
}

const char* littoral_open(struct littoral_pipeline* p) {
  memset(p, 0, sizeof *p);
  if (!wasm_runtime_init()) return "no memory for the interpreter";
  p->environment = p;
  for (int stage = 0; stage < LITTORAL_STAGES; stage++) {
    const char* error = open_stage(p, stage);
    if (error) {
      littoral_close(p);
      return error;
    }
  }
  return NULL;
}

void* littoral_input(const struct littoral_pipeline* p) { return memory_of(p, 0) + LITTORAL_STAGE[0].input_offset; }

const void* littoral_output(const struct littoral_pipeline* p) {
  return memory_of(p, LITTORAL_STAGES - 1) + LITTORAL_STAGE[LITTORAL_STAGES - 1].output_offset;
}

const char* littoral_run(struct littoral_pipeline* p) {
  for (int stage = 0; stage < LITTORAL_STAGES; stage++) {
    const struct littoral_stage* known = &LITTORAL_STAGE[stage];
    struct opened* own = p->stages[stage].runtime;
    if (stage)
      memcpy(memory_of(p, stage) + known->input_offset,
             memory_of(p, stage - 1) + LITTORAL_STAGE[stage - 1].output_offset, known->input_bytes);
    if (!wasm_runtime_call_wasm(own->calls, p->stages[stage].entry, 0, NULL)) {
      strncpy(why, wasm_runtime_get_exception(own->instance), sizeof why - 1);
      wasm_runtime_clear_exception(own->instance);
      return why;
    }
  }
  return NULL;
}

void littoral_close(struct littoral_pipeline* p) {
  for (int stage = 0; stage < LITTORAL_STAGES; stage++) {
    struct opened* own = p->stages[stage].runtime;
    if (!own) continue;
    if (own->calls) wasm_runtime_destroy_exec_env(own->calls);
    if (own->instance) wasm_runtime_deinstantiate(own->instance);
    if (own->module) wasm_runtime_unload(own->module);
    free(own->wasm);
    free(own);
  }
  if (p->environment) wasm_runtime_destroy();
  memset(p, 0, sizeof *p);
}
