# The kernels for arm64, with the cross compiler, the libraries and the Python that run.sh unpacks in $NQZ_ARM64.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(arm64 $ENV{NQZ_ARM64})
set(CMAKE_CXX_COMPILER ${arm64}/tools/usr/bin/aarch64-linux-gnu-g++)
# The linker scripts of the C library name its files from the root on.
set(CMAKE_SYSROOT ${arm64}/tools)
set(CMAKE_CROSSCOMPILING_EMULATOR ${arm64}/emulate)

# Asked under emulation, so that it tells where the modules of arm64 belong and what they are called.
set(Python_EXECUTABLE ${arm64}/python)
file(GLOB Python_INCLUDE_DIR ${arm64}/root/usr/include/python3.*)
# Debian's header of the configuration includes another one from there.
set(CMAKE_CXX_FLAGS_INIT "-idirafter ${arm64}/root/usr/include")
