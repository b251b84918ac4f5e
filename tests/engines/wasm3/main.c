/* wasm3: host CASES OUT. OUT/plan.txt has a case a line: module input output entry, count of writes and each
 * [address, bytes], the same of reads. */

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wasm3.h>

enum { PLACES_MAX = 4096, STACK_BYTES = 1 << 20 };

static void stop(const char* what, const char* where) {
  fprintf(stderr, "%s: %s\n", where, what);
  exit(1);
}

static unsigned char* read_file(const char* folder, const char* name, long* bytes) {
  char path[4096];
  snprintf(path, sizeof path, "%s/%s", folder, name);
  FILE* file = fopen(path, "rb");
  if (!file || fseek(file, 0, SEEK_END)) stop("cannot be read", path);
  *bytes = ftell(file);
  rewind(file);
  unsigned char* found = malloc(*bytes + 1);
  if (!found || fread(found, 1, *bytes, file) != (size_t)*bytes) stop("cannot be read", path);
  fclose(file);
  return found;
}

struct places {
  int count;
  uint64_t at[PLACES_MAX], bytes[PLACES_MAX];
};

static void read_places(FILE* plan, struct places* found) {
  if (fscanf(plan, "%d", &found->count) != 1 || found->count > PLACES_MAX) stop("bad places", "plan.txt");
  for (int i = 0; i < found->count; i++)
    if (fscanf(plan, "%lu %lu", &found->at[i], &found->bytes[i]) != 2) stop("bad place", "plan.txt");
}

static void run(const unsigned char* wasm, long bytes, const char* entry, const unsigned char* input,
                const struct places* writes, const struct places* reads, const char* out, const char* output) {
  IM3Environment environment = m3_NewEnvironment();
  IM3Runtime runtime = m3_NewRuntime(environment, STACK_BYTES, NULL);
  IM3Module module;
  IM3Function function;
  uint32_t size;
  const char* error;
  if ((error = m3_ParseModule(environment, &module, wasm, bytes))) stop(error, output);
  if ((error = m3_LoadModule(runtime, module))) stop(error, output);
  if ((error = m3_FindFunction(&function, runtime, entry))) stop(error, output);
  unsigned char* memory = m3_GetMemory(runtime, &size, 0);
  for (int i = 0; i < writes->count; input += writes->bytes[i++]) {
    if (writes->at[i] + writes->bytes[i] > size) stop("input outside memory", output);
    memcpy(memory + writes->at[i], input, writes->bytes[i]);
  }
  if ((error = m3_CallV(function))) stop(error, output);
  char path[4096];
  snprintf(path, sizeof path, "%s/%s", out, output);
  FILE* file = fopen(path, "wb");
  for (int i = 0; i < reads->count; i++) {
    if (reads->at[i] + reads->bytes[i] > size) stop("output outside memory", output);
    if (fwrite(memory + reads->at[i], 1, reads->bytes[i], file) != reads->bytes[i]) stop("cannot be written", output);
  }
  fclose(file);
  m3_FreeRuntime(runtime);
  m3_FreeEnvironment(environment);
}

int main(int count, char** arguments) {
  if (count != 3) stop("host CASES OUT", "usage");
  static struct places writes, reads;
  char path[4096], module[256], input[256], output[256], entry[256];
  snprintf(path, sizeof path, "%s/plan.txt", arguments[2]);
  FILE* plan = fopen(path, "r");
  if (!plan) stop("cannot be read", path);
  while (fscanf(plan, "%255s %255s %255s %255s", module, input, output, entry) == 4) {
    read_places(plan, &writes);
    read_places(plan, &reads);
    long bytes, given;
    unsigned char* wasm = read_file(arguments[1], module, &bytes);
    unsigned char* data = read_file(arguments[1], input, &given);
    run(wasm, bytes, entry, data, &writes, &reads, arguments[2], output);
    free(data);
    free(wasm);
  }
  return 0;
}
