# 64-bit Arm Linux boards, cross-compiled: the toolchain's bare-metal Embedded library, Debian's arm64 musl below it.
TRIPLE := aarch64-none-none-elf
# Bytes of the stripped binary, at most (1.7 MiB).
SIZE_BUDGET := 1782579
# Runs the binary on the machine that builds.
EMULATOR := qemu-aarch64-static
# Debian's name for the architecture, and what board/sysroot unpacks of it.
SYSROOT_ARCH := arm64
SYSROOT_PACKAGES := musl-dev libsodium-dev libcap-dev linux-libc-dev libgcc-12-dev
