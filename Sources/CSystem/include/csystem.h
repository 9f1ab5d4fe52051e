// The kernel interface, the same on every board: declarations here need only <stdint.h> and <stddef.h>.
// Every call that can fail returns -errno.
#ifndef CSYSTEM_H
#define CSYSTEM_H

#include <stddef.h>
#include <stdint.h>

#include "csystem_files.h"
#include "csystem_net.h"

/// The process's argument count and vector, kept from start-up (Embedded Swift has no CommandLine).
int32_t cs_argc(void);
const char *cs_argv(int32_t index);

int64_t cs_write(int32_t fd, const void *bytes, size_t count);

#endif
