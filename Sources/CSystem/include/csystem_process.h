// Clock, privileges and other process-wide calls. Declarations need only <stdint.h> and <stddef.h>.
#ifndef CSYSTEM_PROCESS_H
#define CSYSTEM_PROCESS_H

#include <stddef.h>
#include <stdint.h>

/// The commit this binary was built from, or "unknown".
const char *cs_build_commit(void);
/// The release this binary belongs to.
const char *cs_build_version(void);

/// CLOCK_MONOTONIC, nanoseconds.
uint64_t cs_monotonic_ns(void);
/// CLOCK_REALTIME, milliseconds since 1970; for log lines only.
int64_t cs_realtime_ms(void);

/// A variable of the environment, or NULL.
const char *cs_environment(const char *name);
int32_t cs_process_id(void);
uint32_t cs_effective_user(void);
int32_t cs_close(int32_t fd);
_Noreturn void cs_exit(int32_t status);
/// Ends the process at once, with a core where the system keeps them.
_Noreturn void cs_abort(void);

/// The process's resident memory in KiB, or -errno.
int64_t cs_resident_kib(void);

int32_t cs_no_new_privileges(void);
/// SCHED_FIFO at `priority`, not inherited by children.
int32_t cs_schedule_fifo(int32_t priority);
/// Sleep no longer than asked (`nanoseconds` of slack) outside the real-time classes.
int32_t cs_timer_slack(uint64_t nanoseconds);
/// Keeps pages that were touched in memory without touching others (MCL_CURRENT | MCL_ONFAULT).
int32_t cs_lock_memory(void);
/// Writes /proc/self/oom_score_adj.
int32_t cs_oom_score(int32_t adjustment);
/// Signals whose default would end the process without cleaning up are ignored from here on: SIGPIPE, SIGUSR1, SIGUSR2,
/// SIGXFSZ.
int32_t cs_ignore_signals(void);

#endif
