# Makes /b/linux/.config of /b/minimal.config: bash /b/configure.sh JOBS. Whether
# every line took effect is checked by whoever started this.
set -eu
umask 022
make -C /b/linux KCONFIG_ALLCONFIG=/b/minimal.config allnoconfig
