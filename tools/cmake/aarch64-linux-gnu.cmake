# Toolchain: Debian's g++-aarch64-linux-gnu, arm64 libraries in CARACAL_SYSROOT (tools/cross_aarch64.sh fills it), programs
# run by qemu-user on that sysroot.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_CXX_COMPILER aarch64-linux-gnu-g++)
set(CMAKE_C_COMPILER aarch64-linux-gnu-gcc)
set(CMAKE_CROSSCOMPILING_EMULATOR qemu-aarch64 -L ${CARACAL_SYSROOT})
# Headers of one architecture, and what the shared libraries need in turn.
set(CMAKE_CXX_FLAGS_INIT "-idirafter ${CARACAL_SYSROOT}/usr/include/aarch64-linux-gnu")
set(CMAKE_EXE_LINKER_FLAGS_INIT "-Wl,-rpath-link,${CARACAL_SYSROOT}/usr/lib/aarch64-linux-gnu:${CARACAL_SYSROOT}/lib/aarch64-linux-gnu")
list(APPEND CMAKE_TRY_COMPILE_PLATFORM_VARIABLES CARACAL_SYSROOT)
set(CMAKE_LIBRARY_ARCHITECTURE aarch64-linux-gnu)
# The libraries of the sysroot first, then what is of headers alone on the building machine.
set(CMAKE_FIND_ROOT_PATH ${CARACAL_SYSROOT} /usr/aarch64-linux-gnu)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_PACKAGE ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
