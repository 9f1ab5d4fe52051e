// What the shipped build's other parts expect below them and musl does not have: Debian's libsodium was compiled for
// glibc, and Embedded Swift seeds its hashing with arc4random.
#ifdef LIFELINE_MUSL
#define _GNU_SOURCE
#include "csystem.h"

#include <stdlib.h>
#include <string.h>

void __explicit_bzero_chk(void *bytes, size_t count, size_t room) {
  if (count > room) abort();
  explicit_bzero(bytes, count);
}

void arc4random_buf(void *bytes, size_t count) {
  if (cs_kernel_entropy(bytes, count) < 0) abort();
}
#else
typedef int no_empty_translation_unit;
#endif
