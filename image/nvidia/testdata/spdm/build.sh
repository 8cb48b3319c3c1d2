# Builds spdm_check.ko: bash /b/build.sh KERNEL JOBS, as the driver is built.
set -eu
umask 022
cd /b/modules
for patch in /b/*.patch; do
  patch -p1 --forward --fuzz=0 <"$patch"
done
mkdir -p /b/spdm/found
cp /b/conftest.h /b/spdm/found
cp /b/Kbuild /b/check.c nvidia/libspdm_*.c /b/spdm
make -j"$2" -C "/usr/src/linux-headers-$1" M=/b/spdm CONFIG_DEBUG_INFO_BTF_MODULES= modules
strip --strip-debug /b/spdm/spdm_check.ko
