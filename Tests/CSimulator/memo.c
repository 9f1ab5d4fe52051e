// A thousand simulated nodes verify the same beacon a thousand times: two thirds of the simulator's time, for an answer
// that is a pure function of its input. This stands in front of libsodium's function of the same name, in programs that
// link the simulator only, and only in threads that asked for it. An answer is taken from memory when signature, key and
// message are the same byte for byte; so a run is the same with and without it. The shipped program has nothing of this.

#define _GNU_SOURCE
#include <dlfcn.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "CSimulator.h"

// 4,096 entries of 368 B: 1.5 MiB for each thread that uses it. One that falls on another's place displaces it.
enum { ENTRIES = 4096, LONGEST = 256 };

struct entry {
  unsigned char signature[64], key[32], message[LONGEST];
  unsigned long long length;
  int answer, used;
};

typedef int verify(const unsigned char *, const unsigned char *, unsigned long long, const unsigned char *);

static _Thread_local struct entry *entries;
static _Thread_local int in_use;
static _Thread_local unsigned long hits, misses;

unsigned long simulator_memo_hits(void) { return hits; }
unsigned long simulator_memo_misses(void) { return misses; }

void simulator_memo_use(int yes) {
  if (yes && !entries) entries = calloc(ENTRIES, sizeof *entries);
  in_use = yes && entries;
}

int crypto_sign_ed25519_verify_detached(const unsigned char *signature, const unsigned char *message,
                                        unsigned long long length, const unsigned char *key) {
  static verify *real;
  if (!real) real = (verify *)dlsym(RTLD_NEXT, "crypto_sign_ed25519_verify_detached");
  if (!real) abort();
  if (!in_use || length > LONGEST) return real(signature, message, length, key);
  size_t place = 0;
  memcpy(&place, signature, sizeof place);
  struct entry *e = &entries[place % ENTRIES];
  if (e->used && e->length == length && !memcmp(e->signature, signature, 64) && !memcmp(e->key, key, 32) &&
      !memcmp(e->message, message, length)) {
    hits++;
    return e->answer;
  }
  misses++;
  e->answer = real(signature, message, length, key);
  memcpy(e->signature, signature, 64);
  memcpy(e->key, key, 32);
  memcpy(e->message, message, length);
  e->length = length;
  e->used = 1;
  return e->answer;
}

long long simulator_processor_time(void) {
  struct timespec time;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return time.tv_sec * 1000000000ll + time.tv_nsec;
}

unsigned long simulator_allocated(void) {
  struct mallinfo2 all = mallinfo2();
  return all.uordblks + all.hblkhd;
}
