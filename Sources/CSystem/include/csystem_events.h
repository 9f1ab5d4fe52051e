// epoll and signals. Declarations need only <stdint.h> and <stddef.h>.
#ifndef CSYSTEM_EVENTS_H
#define CSYSTEM_EVENTS_H

#include <stddef.h>
#include <stdint.h>

#define CS_READABLE 1u
#define CS_WRITABLE 2u
/// Error or hang-up; reported whether asked for or not.
#define CS_BROKEN 4u

typedef struct {
  uint64_t tag;
  uint32_t readiness;
} cs_event;

int32_t cs_epoll_create(void);
int32_t cs_epoll_add(int32_t epoll, int32_t fd, uint32_t interest, uint64_t tag);
int32_t cs_epoll_change(int32_t epoll, int32_t fd, uint32_t interest, uint64_t tag);
int32_t cs_epoll_remove(int32_t epoll, int32_t fd);
/// Level-triggered. The number of events, 0 at the end of the time, or -errno; an interrupted wait gives 0.
/// A negative `timeout_ns` waits without end. Without epoll_pwait2 (Linux before 5.11) it is rounded up to milliseconds.
int32_t cs_epoll_wait(int32_t epoll, cs_event *events, int32_t limit, int64_t timeout_ns);

/// Sleeps; a signal may end it early.
void cs_rest(int64_t ns);

/// Blocks SIGTERM, SIGINT and SIGHUP and gives a descriptor that reports them.
int32_t cs_signals_open(void);
/// The next signal's number, 0 when there is none, or -errno.
int32_t cs_signals_next(int32_t fd);

#endif
