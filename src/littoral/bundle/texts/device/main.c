/* Windows from stdin, answers to stdout, as bytes; with --time milliseconds of each run to stderr. */

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "littoral_device.h"

static double now_ms(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1e3 + now.tv_nsec / 1e6;
}

static int fail(const char* what) {
  fprintf(stderr, "%s\n", what);
  return 1;
}

int main(int count, char** arguments) {
  static unsigned char window[LITTORAL_INPUT_BYTES];
  struct littoral_pipeline pipeline;
  int timed = count == 2 && !strcmp(arguments[1], "--time");
  if (count > 1 + timed) return fail("usage: pipeline [--time] < windows > answers");
  const char* error = littoral_open(&pipeline);
  if (error) return fail(error);
  size_t got;
  while ((got = fread(window, 1, sizeof window, stdin)) == sizeof window) {
    memcpy(littoral_input(&pipeline), window, sizeof window);
    double start = now_ms();
    if ((error = littoral_run(&pipeline))) return fail(error);
    if (timed) fprintf(stderr, "%.3f\n", now_ms() - start);
    if (!fwrite(littoral_output(&pipeline), LITTORAL_OUTPUT_BYTES, 1, stdout)) return fail("stdout is closed");
  }
  littoral_close(&pipeline);
  return got ? fail("the input ends inside a window") : 0;
}
