// Arguments and a few process-wide calls.
#define _GNU_SOURCE
#include "csystem.h"

#include <errno.h>
#include <unistd.h>

static int saved_argc;
static char **saved_argv;

// glibc hands argc, argv and envp to constructors, in static programs too.
__attribute__((constructor)) static void save_arguments(int argc, char **argv, char **envp) {
  (void)envp;
  saved_argc = argc;
  saved_argv = argv;
}

int32_t cs_argc(void) { return saved_argc; }
const char *cs_argv(int32_t index) { return index >= 0 && index < saved_argc ? saved_argv[index] : NULL; }

int64_t cs_write(int32_t fd, const void *bytes, size_t count) {
  ssize_t n = write(fd, bytes, count);
  return n < 0 ? -errno : n;
}
