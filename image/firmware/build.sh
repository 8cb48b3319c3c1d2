# Builds one platform of edk2. It runs in a root that holds nothing but the locked
# toolchain, as the first process of its own namespaces, without a network:
# bash /b/build.sh PLATFORM JOBS
set -eu
umask 022
platform=$1 jobs=$2
cd /b/edk2

# As dpkg-source applies Debian's patches, then ours, which know no fuzz either.
apply() { patch --batch --fuzz=0 --strip=1 --unified --version-control=never --remove-empty-files "$@"; }
while read -r name; do
	case $name in '' | '#'*) continue ;; esac
	echo "patch $name"
	apply <"/b/debian/patches/$name"
done </b/debian/patches/series
for file in /b/patches/*.patch; do
	echo "patch ${file##*/}"
	apply --binary <"$file"
done

export WORKSPACE=/b/edk2 EDK_TOOLS_PATH=/b/edk2/BaseTools CONF_PATH=/b/edk2/Conf PYTHON_COMMAND=/usr/bin/python3
echo "make BaseTools"
make -C BaseTools/Source/C -j"$jobs" CC=gcc CXX=g++
for name in build_rule tools_def target; do
	cp "BaseTools/Conf/$name.template" "Conf/$name.txt"
done
PATH=/b/edk2/BaseTools/BinWrappers/PosixLike:$PATH
build -n "$jobs" -a X64 -t GCC5 -b RELEASE -p "SecretVm/$platform.dsc"
cp "Build/$platform/RELEASE_GCC5/FV/OVMF.fd" /b/OVMF.fd
