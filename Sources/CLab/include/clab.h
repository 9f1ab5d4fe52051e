// What the laboratory needs of Linux and Swift's Glibc module does not show: namespaces, packet sockets, processes that
// end up in a group of their own, and a flag that Ctrl-C sets. Calls that can fail return -errno.
#ifndef CLAB_H
#define CLAB_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/// Moves the calling thread into the network namespace at `path`; the descriptor returned leads back.
int lab_enter_network(const char *path);
/// Back to the namespace behind `saved`, which is closed.
int lab_leave_network(int saved);

/// A packet socket on `interface` of the calling thread's namespace that sees every frame; `outgoing` as well when not 0.
int lab_packet_socket(const char *interface, int outgoing);

/// Sends frames of `frame_bytes` (14 to 9018) for `milliseconds` from the packet socket of one namespace's interface to
/// another's as fast as they go, in batches, one thread a side; `frames_a_second` is what arrived.
int lab_packet_rate(
    const char *from, const char *out, const char *to, const char *in, size_t frame_bytes, int milliseconds,
    double *frames_a_second);

/// Starts `argv` (looked up in PATH) in a process group of its own, with no descriptor above 2 and every signal as at
/// start-up. Returns the process's number.
int lab_spawn(char *const argv[], char *const environment[], int in, int out, int error);
/// Waits for a child: 1 ended (`status` as of waitpid), 0 not within `milliseconds`.
int lab_wait(pid_t pid, int milliseconds, int *status);
/// Runs `argv` to its end with a wall clock that is another number of years off at each reading; clocks that only go on are
/// left alone, and the machine's are not touched. Returns its exit status, 128 + n after signal n, 1 when that is not
/// possible, and 99, with a line on standard error for each, when it used the wall clock for more than reading it.
int lab_run_with_jumping_clock(char *const argv[]);

/// An anonymous file in memory.
int lab_memory_file(void);

/// From now on SIGINT, SIGTERM and SIGHUP only set the flag that lab_interrupted reads.
void lab_catch_interrupts(void);
int lab_interrupted(void);

/// Lines on standard output appear at once, also in a pipe.
void lab_write_lines_at_once(void);

#endif
