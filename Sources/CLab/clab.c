#define _GNU_SOURCE
#include "clab.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

int lab_enter_network(const char *path) {
  int saved = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
  if (saved < 0) return -errno;
  int target = open(path, O_RDONLY | O_CLOEXEC);
  int failed = target < 0 || setns(target, CLONE_NEWNET) < 0 ? errno : 0;
  if (target >= 0) close(target);
  if (failed) {
    close(saved);
    return -failed;
  }
  return saved;
}

int lab_leave_network(int saved) {
  int failed = setns(saved, CLONE_NEWNET) < 0 ? errno : 0;
  close(saved);
  return -failed;
}

int lab_packet_socket(const char *interface, int outgoing) {
  unsigned index = if_nametoindex(interface);
  if (!index) return -errno;
  // Protocol 0 until it is bound: nothing of other interfaces gets in.
  int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
  if (fd < 0) return -errno;
  int ignore = !outgoing;
  int buffer = 64 << 20;
  struct sockaddr_ll address = {
      .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL), .sll_ifindex = (int)index};
  if (setsockopt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &ignore, sizeof ignore) < 0 ||
      setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &buffer, sizeof buffer) < 0 ||
      bind(fd, (struct sockaddr *)&address, sizeof address) < 0) {
    int failed = errno;
    close(fd);
    return -failed;
  }
  return fd;
}

int lab_spawn(char *const argv[], char *const environment[], int in, int out, int error) {
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  sigset_t all, none;
  pid_t pid = 0;
  sigfillset(&all);
  sigemptyset(&none);
  posix_spawn_file_actions_init(&actions);
  posix_spawnattr_init(&attributes);
  posix_spawn_file_actions_adddup2(&actions, in, 0);
  posix_spawn_file_actions_adddup2(&actions, out, 1);
  posix_spawn_file_actions_adddup2(&actions, error, 2);
  posix_spawn_file_actions_addclosefrom_np(&actions, 3);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
  posix_spawnattr_setsigdefault(&attributes, &all);
  posix_spawnattr_setsigmask(&attributes, &none);
  int failed = posix_spawnp(&pid, argv[0], &actions, &attributes, argv, environment);
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&actions);
  return failed ? -failed : pid;
}

int lab_wait(pid_t pid, int milliseconds, int *status) {
  pid_t got = waitpid(pid, status, WNOHANG);
  if (got == pid) return 1;
  if (got < 0) return -errno;
  int fd = (int)syscall(SYS_pidfd_open, pid, 0);
  if (fd < 0) return -errno;
  struct pollfd ready = {.fd = fd, .events = POLLIN};
  poll(&ready, 1, milliseconds);
  close(fd);
  got = waitpid(pid, status, WNOHANG);
  return got == pid ? 1 : got < 0 ? -errno : 0;
}

int lab_memory_file(void) {
  int fd = memfd_create("lab", MFD_CLOEXEC);
  return fd < 0 ? -errno : fd;
}

static volatile sig_atomic_t interrupted;
static void note_interrupt(int signal) {
  (void)signal;
  interrupted = 1;
}

void lab_catch_interrupts(void) {
  struct sigaction action = {.sa_handler = note_interrupt};
  sigemptyset(&action.sa_mask);
  sigaction(SIGINT, &action, NULL);
  sigaction(SIGTERM, &action, NULL);
  sigaction(SIGHUP, &action, NULL);
}

int lab_interrupted(void) { return interrupted; }

void lab_write_lines_at_once(void) { setvbuf(stdout, NULL, _IOLBF, 0); }
