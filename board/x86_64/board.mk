# x86_64 servers, switch control processors and PCs: the machine that builds is of the same kind.
# The toolchain's bare-metal Embedded library, Debian's musl below it.
TRIPLE := x86_64-unknown-none-elf
# Bytes of the stripped binary, at most (2.0 MiB).
SIZE_BUDGET := 2097152
# Runs the binary on the machine that builds; empty: nothing is needed.
EMULATOR :=
# Packages of the sysroot; empty: the build machine's own libraries (board/setup build).
SYSROOT_ARCH :=
SYSROOT_PACKAGES :=
