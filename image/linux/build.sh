# Builds the configured kernel: bash /b/build.sh JOBS. It runs in a root that holds
# nothing but the locked toolchain, as the first process of its own namespaces,
# without a network.
set -eu
umask 022
cd /b/linux

# objtool, which only runs here, asks /proc where its stack is, to word one of its
# error messages. There is no /proc.
echo '7ffffffde000-7ffffffff000 rw-p 00000000 00:00 0 [stack]' >/b/maps
grep -q '"/proc/self/maps"' tools/objtool/signal.c
sed -i 's|"/proc/self/maps"|"/b/maps"|' tools/objtool/signal.c

# What the kernel says of its build (uname -v), the same for everybody.
export KBUILD_BUILD_TIMESTAMP='Sun Nov  1 00:00:00 UTC 2026' KBUILD_BUILD_USER=secretvm KBUILD_BUILD_HOST=secretvm KBUILD_BUILD_VERSION=1
make -j"$1" bzImage
