// Small stand-ins for libc calls that would pull in printf and the resolver; see lean_libc.c.
#ifndef LEAN_LIBC_H
#define LEAN_LIBC_H

#include <stddef.h>
#include <stdint.h>

/// Decimal digits of `value` and a final zero, at most 21 bytes; returns the digits' count.
size_t cs_format_decimal(char *out, int64_t value);
/// The value of the decimal digits at `text`, after blanks; wraps beyond 64 bits. `end`, where wanted, is what follows them.
uint64_t cs_parse_decimal(const char *text, const char **end);
/// if_nametoindex without libc's interface list: the index, or -errno.
int32_t cs_index_of_interface(const char *name);

#endif
