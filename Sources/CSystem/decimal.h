// A number's text without printf, which would bring 10 kB into the shipped binary.
#ifndef DECIMAL_H
#define DECIMAL_H

#include <stddef.h>
#include <stdint.h>

/// Decimal digits of `value` and a final zero, at most 21 bytes; returns the digits' count.
static inline size_t format_decimal(char *out, int64_t value) {
  char digits[20];
  size_t count = 0, length = 0;
  uint64_t rest = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
  do {
    digits[count++] = (char)('0' + rest % 10);
    rest /= 10;
  } while (rest);
  if (value < 0) out[length++] = '-';
  while (count) out[length++] = digits[--count];
  out[length] = 0;
  return length;
}

#endif
