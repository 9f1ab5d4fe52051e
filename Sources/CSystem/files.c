// Files, directories and the few other calls that provisioning and the store need.
#define _GNU_SOURCE
#include "csystem_files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

static int32_t result(int value) { return value < 0 ? -errno : value; }

int32_t cs_file_open(const char *path, int32_t access, uint32_t mode) {
  int flags = access == CS_FILE_READ ? O_RDONLY : access == CS_FILE_UPDATE ? O_RDWR : O_RDWR | O_CREAT | O_EXCL;
  // Somebody's pipe or socket under that name must not hold us up.
  int fd = open(path, flags | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, (mode_t)mode);
  struct stat status;
  if (fd >= 0 && fstat(fd, &status) == 0 && (S_ISFIFO(status.st_mode) || S_ISSOCK(status.st_mode))) {
    close(fd);
    return -EMEDIUMTYPE;
  }
  return result(fd);
}

int32_t cs_file_close(int32_t fd) { return result(close(fd)); }

int64_t cs_file_pread(int32_t fd, void *bytes, size_t count, uint64_t offset) {
  ssize_t n;
  do { n = pread(fd, bytes, count, (off_t)offset); } while (n < 0 && errno == EINTR);
  return n < 0 ? -errno : n;
}

int64_t cs_file_pwrite(int32_t fd, const void *bytes, size_t count, uint64_t offset) {
  ssize_t n;
  do { n = pwrite(fd, bytes, count, (off_t)offset); } while (n < 0 && errno == EINTR);
  return n < 0 ? -errno : n;
}

int64_t cs_file_read(int32_t fd, void *bytes, size_t count) {
  ssize_t n;
  do { n = read(fd, bytes, count); } while (n < 0 && errno == EINTR);
  return n < 0 ? -errno : n;
}

int32_t cs_file_sync(int32_t fd) {
  // Character devices (MTD) have nothing to synchronize and say EINVAL.
  if (fsync(fd) < 0 && errno != EINVAL) return -errno;
  return 0;
}

int32_t cs_file_sync_directory(const char *path) {
  int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return -errno;
  int32_t outcome = cs_file_sync(fd);
  close(fd);
  return outcome;
}

int32_t cs_file_rename(const char *from, const char *to) { return result(rename(from, to)); }
int32_t cs_file_unlink(const char *path) { return result(unlink(path)); }
int32_t cs_file_mkdir(const char *path, uint32_t mode) { return result(mkdir(path, (mode_t)mode)); }
int32_t cs_file_lock(int32_t fd) { return result(flock(fd, LOCK_EX | LOCK_NB)); }

int32_t cs_file_status(const char *path, int32_t *kind, uint32_t *permissions, uint64_t *size) {
  struct stat status;
  if (stat(path, &status) < 0) return -errno;
  if (kind) {
    *kind = S_ISREG(status.st_mode)   ? CS_FILE_REGULAR
            : S_ISDIR(status.st_mode) ? CS_FILE_DIRECTORY
            : S_ISBLK(status.st_mode) || S_ISCHR(status.st_mode) ? CS_FILE_DEVICE
                                                                 : CS_FILE_OTHER;
  }
  if (permissions) *permissions = status.st_mode & 07777;
  if (size) *size = status.st_size < 0 ? 0 : (uint64_t)status.st_size;
  return 0;
}

int32_t cs_file_is_link(const char *path) {
  struct stat status;
  if (lstat(path, &status) < 0) return errno == ENOENT ? 0 : -errno;
  return S_ISLNK(status.st_mode);
}

int64_t cs_file_list(const char *path, char *names, size_t capacity) {
  DIR *directory = opendir(path);
  if (!directory) return -errno;
  size_t used = 0;
  for (;;) {
    errno = 0;
    struct dirent *entry = readdir(directory);
    if (!entry) {
      int failure = errno;
      closedir(directory);
      return failure ? -failure : (int64_t)used;
    }
    if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
    size_t length = strlen(entry->d_name) + 1;
    if (length > capacity - used) {
      closedir(directory);
      return -EOVERFLOW;
    }
    memcpy(names + used, entry->d_name, length);
    used += length;
  }
}

int32_t cs_host_name(char *name, size_t capacity) {
  if (capacity == 0) return -EINVAL;
  if (gethostname(name, capacity) < 0) return -errno;
  name[capacity - 1] = 0;
  return 0;
}

int32_t cs_kernel_entropy(void *bytes, size_t count) {
  for (size_t have = 0; have < count;) {
    ssize_t n = getrandom((char *)bytes + have, count - have, 0);
    if (n < 0 && errno != EINTR) return -errno;
    if (n > 0) have += (size_t)n;
  }
  return 0;
}

const char *cs_error_text(int32_t code) {
  const char *text = strerror(code);
  return text ? text : "unknown error";
}

int32_t cs_terminal_echo(int32_t fd, int32_t on) {
  struct termios settings;
  if (tcgetattr(fd, &settings) < 0) return -errno;
  if (on) settings.c_lflag |= ECHO;
  else settings.c_lflag &= ~(tcflag_t)ECHO;
  return result(tcsetattr(fd, TCSAFLUSH, &settings));
}

void cs_file_exit(int32_t code) { _exit(code); }
