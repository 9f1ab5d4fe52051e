// Keeps glibc's large parts out of the static binary. libsodium's assertions and malloc's statistics are the only ones
// that refer to printf, and with it come locales, gettext, iconv and dlopen: about 300 kB that nothing here uses.
// What stands here takes their place at link time.
#define _GNU_SOURCE
#include "csystem.h"
#include "lean_libc.h"

#include <errno.h>
#include <net/if.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

size_t cs_format_decimal(char *out, int64_t value) {
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

uint64_t cs_parse_decimal(const char *text, const char **end) {
  uint64_t value = 0;
  while (*text == ' ') text++;
  while (*text >= '0' && *text <= '9') value = value * 10 + (uint64_t)(*text++ - '0');
  if (end) *end = text;
  return value;
}

int32_t cs_index_of_interface(const char *name) {
  struct ifreq request;
  memset(&request, 0, sizeof request);
  size_t length = strnlen(name, IFNAMSIZ);
  if (length == 0 || length >= IFNAMSIZ) return -ENODEV;
  memcpy(request.ifr_name, name, length);
  int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return -errno;
  int32_t result = ioctl(fd, SIOCGIFINDEX, &request) < 0 ? -errno : request.ifr_ifindex;
  close(fd);
  return result;
}

#ifdef LIFELINE_LEAN_LIBC
static void say(const char *text) {
  ssize_t ignored = write(2, text, strlen(text));
  (void)ignored;
}

// A broken assertion of libsodium: its words, without locale, then the end.
void __assert_fail(const char *assertion, const char *file, unsigned line, const char *function) {
  char number[24];
  cs_format_decimal(number, line);
  say("lifeline: ");
  say(file);
  say(":");
  say(number);
  say(": ");
  say(function ? function : "?");
  say(": ");
  say(assertion);
  say("\n");
  abort();
}

// Referred to by the loading of character-set converters, which the C locale does not do.
int __asprintf(char **out, const char *format, ...) {
  (void)format;
  *out = NULL;
  return -1;
}

// A broken array index inside libc.
_Noreturn void __libc_dynarray_at_failure(size_t size, size_t index) {
  (void)size;
  (void)index;
  say("lifeline: libc: array index out of bounds\n");
  abort();
}

// Referred to by the dynamic loader, which a static program does not use; our own texts come from strerrordesc_np.
char *__strerror_r(int code, char *text, size_t count) {
  (void)code;
  if (count > 0) text[0] = 0;
  return text;
}

// Referred to by malloc_stats, which nothing calls.
int fprintf(FILE *stream, const char *format, ...) {
  (void)stream;
  (void)format;
  return -1;
}
#endif
