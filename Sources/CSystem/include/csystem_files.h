// Files, directories and the few other calls that provisioning and the store need.
#ifndef CSYSTEM_FILES_H
#define CSYSTEM_FILES_H

#include <stddef.h>
#include <stdint.h>

enum cs_file_access {
  CS_FILE_READ = 0,
  /// Read and write an existing file.
  CS_FILE_UPDATE = 1,
  /// Make a new file; fails where one is. Read and write.
  CS_FILE_CREATE = 2,
};

enum cs_file_kind {
  CS_FILE_REGULAR = 1,
  CS_FILE_DIRECTORY = 2,
  /// A block or character device: a flash partition.
  CS_FILE_DEVICE = 3,
  CS_FILE_OTHER = 4,
};

/// A descriptor, closed on exec. `mode` is for CS_FILE_CREATE.
int32_t cs_file_open(const char *path, int32_t access, uint32_t mode);
int32_t cs_file_close(int32_t fd);
int64_t cs_file_pread(int32_t fd, void *bytes, size_t count, uint64_t offset);
int64_t cs_file_pwrite(int32_t fd, const void *bytes, size_t count, uint64_t offset);
/// From the current position: pipes and terminals.
int64_t cs_file_read(int32_t fd, void *bytes, size_t count);
int32_t cs_file_sync(int32_t fd);
int32_t cs_file_sync_directory(const char *path);
int32_t cs_file_rename(const char *from, const char *to);
int32_t cs_file_unlink(const char *path);
int32_t cs_file_mkdir(const char *path, uint32_t mode);
/// An exclusive advisory lock on the open file, at once or -EWOULDBLOCK.
int32_t cs_file_lock(int32_t fd);
/// Any of the three results may be NULL.
int32_t cs_file_status(const char *path, int32_t *kind, uint32_t *permissions, uint64_t *size);
/// 1 when there is a symbolic link at the path, wherever it leads; 0 also when nothing is there.
int32_t cs_file_is_link(const char *path);
/// The names in a directory, without "." and "..", each ended by a NUL byte; the bytes written, or -EOVERFLOW when they
/// do not fit.
int64_t cs_file_list(const char *path, char *names, size_t capacity);
/// The host's name, NUL-terminated.
int32_t cs_host_name(char *name, size_t capacity);
/// Bytes from the kernel's generator; waits until it is seeded.
int32_t cs_kernel_entropy(void *bytes, size_t count);
/// What an error number means, for a person.
const char *cs_error_text(int32_t code);
/// Turns a terminal's echo on or off; fails with -ENOTTY on anything else.
int32_t cs_terminal_echo(int32_t fd, int32_t on);

/// Ends the process at once.
__attribute__((noreturn)) void cs_file_exit(int32_t code);

#endif
