// The run directory: its lock and the control socket. Declarations need only <stdint.h> and <stddef.h>.
#ifndef CSYSTEM_LOCAL_H
#define CSYSTEM_LOCAL_H

#include <stddef.h>
#include <stdint.h>

/// Makes the directory (0700) where it is missing. -ENOTDIR when something else is there.
int32_t cs_run_directory(const char *path);
/// Takes the lock on the pid file and writes our number into it. The descriptor, which holds the lock as long as it is
/// open; -EWOULDBLOCK when another process holds it, whose number is then in `*holder` (0 unknown); or -errno.
int32_t cs_pid_lock(const char *path, int32_t *holder);
int32_t cs_unlink(const char *path);

/// A nonblocking listening stream socket with mode 0600; what was at `path` is removed first. The descriptor or -errno.
int32_t cs_local_listen(const char *path, int32_t backlog);
/// A nonblocking accepted connection of our own user or root, -EAGAIN, -EPERM (another user, closed again) or -errno.
int32_t cs_local_accept(int32_t fd);
/// A blocking connection, each of whose calls waits that long at most (0: for ever) and then gives -EAGAIN; or -errno.
int32_t cs_local_connect(const char *path, int32_t milliseconds);
/// Another limit for an open one; 0 or -errno.
int32_t cs_local_patience(int32_t fd, int32_t milliseconds);
/// Bytes, 0 at the end, or -errno.
int64_t cs_receive(int32_t fd, void *bytes, size_t count);
/// Bytes or -errno; never raises SIGPIPE.
int64_t cs_send(int32_t fd, const void *bytes, size_t count);
/// All of it to standard output, or -errno.
int32_t cs_print(const void *bytes, size_t count);
/// 1 when standard output is a terminal.
int32_t cs_output_is_terminal(void);

#endif
