/* What NVIDIA's build finds out about Linux 7.3; build.sh makes sure that it does. */
#define NV_GENERATED_AUTOCONF_H_PRESENT
#define NV_LINUX_STDARG_H_PRESENT
#define NV_CRYPTO_PRESENT
#define NV_CRYPTO_SIG_H_PRESENT
#define NV_ECC_DIGITS_FROM_BYTES_PRESENT
