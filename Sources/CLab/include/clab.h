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

/// What a thread used that did nothing but exchange frames: processor time in ns, and the frames it received.
struct lab_floor {
  int64_t busy, received;
};
/// For `duration` ns, every `interval` ns, the calling thread sends a frame of `frame_bytes` (14 to 1514) from each of `count`
/// (1 to 64) packet sockets, rests 0.2 ms and receives one from each; threads at the `far` ends answer every frame.
int lab_hello_floor(
    const int *ports, const int *far, int count, size_t frame_bytes, int64_t interval, int64_t duration,
    struct lab_floor *floor);

/// The calling thread runs under SCHED_FIFO from now on.
int lab_real_time(int priority);
/// And as usual again.
void lab_normal_time(void);
/// Nanoseconds of the monotonic clock, and a sleep until then that no signal shortens.
int64_t lab_now(void);
void lab_sleep_until(int64_t when);

/// How a stream is paced: a datagram every `period` ns, of `bytes`; every `large_every`th (0: none) of `large_bytes`.
struct lab_pace {
  int64_t period;
  size_t bytes, large_every, large_bytes;
};
struct lab_arrival {
  /// Nanoseconds of the monotonic clock.
  int64_t time;
  uint64_t number;
};
/// Sends datagrams numbered from 0 (8 bytes, big-endian, then padding) on absolute deadlines until `ended` is set or
/// `capacity` are sent; sent[n] is when the n-th left, `count` grows as they do.
void lab_send_paced(
    int fd, const void *address, uint32_t address_bytes, const struct lab_pace *pace, int64_t *sent, size_t capacity,
    size_t *count, const int *ended);
/// Stamps what arrives until `ended` is set or there is no room; `count` grows with it.
void lab_receive_stamped(int fd, struct lab_arrival *arrivals, size_t capacity, size_t *count, const int *ended);
/// Stops a process and lets it go on `pause` ns later, from a thread above the nodes; returns how long it was stopped, ns.
int64_t lab_stop_for(pid_t pid, int64_t pause);
/// When a core began to stand still and when it ran again, nanoseconds of the monotonic clock.
struct lab_standstill {
  int64_t begun, ended;
};
/// The numbers of the cores that this process may run on, at most `capacity` of them, ascending; their count, or -errno.
int lab_cores(int *numbers, int capacity);
/// Watches a core from the calling thread, bound to it and above everything else, until `ended` is set: notes each time it
/// did not run for `limit` ns or more; `count` grows with them up to `capacity`. Looks every 2 ms.
int lab_watch_core(
    int core, int64_t limit, struct lab_standstill *found, size_t capacity, size_t *count, const int *ended);
/// Does nothing for `pause` ns on a core, and lets nobody else there; the calling thread ends afterwards.
int lab_hold_core(int core, int64_t pause);
/// Sets a flag, and reads a counter, that another thread uses.
void lab_set(int *flag);
size_t lab_count(const size_t *count);

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
