// The log's lines to standard error. Declarations need only <stdint.h> and <stddef.h>.
#ifndef CSYSTEM_LOG_H
#define CSYSTEM_LOG_H

#include <stddef.h>
#include <stdint.h>

/// From now on a thread writes the lines, and `cs_log_write` does not wait for standard error: 0, or -errno, and the lines
/// are written as before.
int32_t cs_log_begin(void);
/// Has the thread write what it holds and end, for at most `timeout_ns`; lines are then written directly again.
void cs_log_end(int64_t timeout_ns);
/// Gives the thread up to `limit_ns` to write what it holds, before the process is ended at once.
void cs_log_settle(int64_t limit_ns);
/// Lines that standard error has refused since this was asked last.
uint32_t cs_log_refused(void);
/// One line of at most 4,096 bytes: 1 written, 0 there is no room for it, or -errno. Where no thread writes it may
/// wait, if standard error is a terminal or a file.
int32_t cs_log_write(const void *bytes, size_t count);
/// 1 when standard error is the stream that JOURNAL_STREAM names (systemd.exec(5)), otherwise 0.
int32_t cs_log_is_journal(void);

#endif
