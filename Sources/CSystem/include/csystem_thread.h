// Threads beside the loop, and mailboxes between two threads. Declarations need only <stdint.h> and <stddef.h>.
#ifndef CSYSTEM_THREAD_H
#define CSYSTEM_THREAD_H

#include <stddef.h>
#include <stdint.h>

/// Letters in one mailbox at most: a power of two, 8 B each.
#define CS_MAILBOX_LETTERS 1024

/// A ring of letters with one thread that posts and one that takes, without a lock: a thread that is held up while it
/// posts or takes holds up nobody. Letters are pointers and belong to whoever took them.
typedef struct cs_mailbox cs_mailbox;

/// Ends the process when there is no memory or no descriptor.
cs_mailbox *cs_mailbox_create(void);
/// Nobody uses it any more; letters in it are lost.
void cs_mailbox_destroy(cs_mailbox *box);
/// Readable when something was posted since `cs_mailbox_clear`.
int32_t cs_mailbox_descriptor(const cs_mailbox *box);
/// 1, or 0 when it is full.
int32_t cs_mailbox_post(cs_mailbox *box, void *letter);
/// Before taking: what is posted from here on makes the descriptor readable again.
void cs_mailbox_clear(cs_mailbox *box);
/// The oldest letter, or NULL.
void *cs_mailbox_take(cs_mailbox *box);
/// Letters in it, seen from either side.
int32_t cs_mailbox_count(const cs_mailbox *box);

/// Runs `body` in a thread of its own that is called `name` (its first 15 bytes), gets no signals, has a stack of
/// `stack_bytes` and the caller's capabilities. 0 or -errno.
int32_t cs_thread_start(const char *name, void (*body)(void *argument), void *argument, size_t stack_bytes);
/// Waits until the descriptor is readable: 1, 0 at the end of the time, or -errno. Negative: without end.
int32_t cs_wait_readable(int32_t fd, int64_t timeout_ns);

#endif
