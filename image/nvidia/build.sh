# Builds nvidia.ko and nvidia-uvm.ko: bash /b/build.sh KERNEL JOBS. It runs in a root
# that holds nothing but the locked toolchain and the kernel's headers, as the first
# process of its own namespaces, without a network.
set -eu
umask 022
cd /b/modules
for patch in /b/*.patch; do
  patch -p1 --forward --fuzz=0 <"$patch"
done

# Without types for BPF programs: the image's builder would take them out again.
headers=/usr/src/linux-headers
make -j"$2" modules KERNEL_UNAME="$1" SYSSRC="$headers-${1%-amd64}-common" SYSOUT="$headers-$1" \
  NV_KERNEL_MODULES="nvidia nvidia-uvm" NV_EXCLUDE_KERNEL_MODULES="nvidia-drm nvidia-modeset nvidia-peermem" \
  CONFIG_DEBUG_INFO_BTF_MODULES=

# What NVIDIA's build finds out about the kernel by compiling fragments fails
# silently. Without these it leaves out what a GPU in confidential mode proves itself
# with, and the module still builds.
for symbol in crypto_alloc_sig crypto_alloc_aead crypto_ecdh_shared_secret ecc_digits_from_bytes cc_platform_has; do
  nm --undefined-only nvidia.ko | grep -q " $symbol\$" || { echo "error: nvidia.ko was built without $symbol" >&2; exit 1; }
done
strip --strip-debug --remove-section=.comment nvidia.ko nvidia-uvm.ko
