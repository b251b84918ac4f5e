/* A pipeline of compiled models in wasm3. Nothing is allocated after littoral_open; one run at a time. */

#include "littoral_device.h"

#include <string.h>
#include <wasm3.h>

static unsigned char* memory_of(const struct littoral_pipeline* p, int stage, uint32_t* bytes) {
  return m3_GetMemory((IM3Runtime)p->stages[stage].runtime, bytes, 0);
}

static const char* open_stage(struct littoral_pipeline* p, int stage) {
  const struct littoral_stage* known = &LITTORAL_STAGE[stage];
  IM3Runtime runtime = m3_NewRuntime((IM3Environment)p->environment, LITTORAL_STACK_BYTES, NULL);
  IM3Module module = NULL;
  IM3Function entry = NULL;
  uint32_t bytes = 0;
  if (!runtime) return "no memory for the interpreter";
  p->stages[stage].runtime = runtime;
  const char* error = m3_ParseModule((IM3Environment)p->environment, &module, known->wasm, known->wasm_bytes);
  if (error) return error;
  if ((error = m3_LoadModule(runtime, module))) {
    m3_FreeModule(module);
    return error;
  }
  if ((error = m3_FindFunction(&entry, runtime, known->entry))) return error;
  if ((error = m3_CompileModule(module))) return error;
  if (!memory_of(p, stage, &bytes) || bytes != known->memory_bytes) return "the module has another memory than it should";
  p->stages[stage].entry = entry;
  return NULL;
}

const char* littoral_open(struct littoral_pipeline* p) {
  memset(p, 0, sizeof *p);
  p->environment = m3_NewEnvironment();
  if (!p->environment) return "no memory for the interpreter";
  for (int stage = 0; stage < LITTORAL_STAGES; stage++) {
    const char* error = open_stage(p, stage);
    if (error) {
      littoral_close(p);
      return error;
    }
  }
  return NULL;
}

void* littoral_input(const struct littoral_pipeline* p) {
  uint32_t bytes;
  return memory_of(p, 0, &bytes) + LITTORAL_STAGE[0].input_offset;
}

const void* littoral_output(const struct littoral_pipeline* p) {
  uint32_t bytes;
  return memory_of(p, LITTORAL_STAGES - 1, &bytes) + LITTORAL_STAGE[LITTORAL_STAGES - 1].output_offset;
}

const char* littoral_run(struct littoral_pipeline* p) {
  for (int stage = 0; stage < LITTORAL_STAGES; stage++) {
    const struct littoral_stage* known = &LITTORAL_STAGE[stage];
    uint32_t bytes;
    if (stage) {
      const struct littoral_stage* before = &LITTORAL_STAGE[stage - 1];
      memcpy(memory_of(p, stage, &bytes) + known->input_offset,
             memory_of(p, stage - 1, &bytes) + before->output_offset, known->input_bytes);
    }
    const char* error = m3_CallV((IM3Function)p->stages[stage].entry);
    if (error) return error;
  }
  return NULL;
}

void littoral_close(struct littoral_pipeline* p) {
  for (int stage = 0; stage < LITTORAL_STAGES; stage++)
    if (p->stages[stage].runtime) m3_FreeRuntime((IM3Runtime)p->stages[stage].runtime);
  if (p->environment) m3_FreeEnvironment((IM3Environment)p->environment);
  memset(p, 0, sizeof *p);
}
