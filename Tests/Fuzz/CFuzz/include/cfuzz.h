// libFuzzer's driver (compiler-rt), which Swift has no declaration of. It calls `one` until a limit of its options is
// reached, and ends the process itself when `one` traps.
#ifndef CFUZZ_H
#define CFUZZ_H

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerRunDriver(int *argc, char ***argv, int (*one)(const uint8_t *bytes, size_t count));

#endif
