// Has the driver's cryptography do what the driver does with it when a GPU proves
// itself: with a key and a signature, and a key and its HMAC, that somebody else
// made (parameters, in hexadecimal), and with what it makes itself. The module is
// never loaded: its code ends with ECANCELED if all is right, else with the number
// of what is wrong.
#include "internal_crypt_lib.h"
#include <linux/hex.h>
#include <linux/module.h>

static char *key, *digest, *signature, *secret, *message, *hmac;
module_param(key, charp, 0);
module_param(digest, charp, 0);
module_param(signature, charp, 0);
module_param(secret, charp, 0);
module_param(message, charp, 0);
module_param(hmac, charp, 0);

#define CHECK(what)                                             \
    do {                                                        \
        if (!(what)) {                                          \
            pr_err("spdm_check: %s, line %d\n", #what, __LINE__); \
            return -EBADMSG;                                    \
        }                                                       \
    } while (0)

static bool bytes(const char *hex, u8 *to, size_t size)
{
    return hex && strlen(hex) == 2 * size && !hex2bin(to, hex, size);
}

static int check_signature(void)
{
    u8 public[96], hash[48], sig[96];
    void *ec = libspdm_ec_new_by_nid(LIBSPDM_CRYPTO_NID_SECP384R1);

    CHECK(ec);
    CHECK(bytes(key, public, 96) && bytes(digest, hash, 48) && bytes(signature, sig, 96));
    CHECK(lkca_ec_set_pub_key(ec, public, 96));
    CHECK(lkca_ecdsa_verify(ec, LIBSPDM_CRYPTO_NID_SHA384, hash, 48, sig, 96));
    hash[0] ^= 1;
    CHECK(!lkca_ecdsa_verify(ec, LIBSPDM_CRYPTO_NID_SHA384, hash, 48, sig, 96));
    hash[0] ^= 1;
    sig[95] ^= 1;
    CHECK(!lkca_ecdsa_verify(ec, LIBSPDM_CRYPTO_NID_SHA384, hash, 48, sig, 96));
    public[95] ^= 1;
    CHECK(!lkca_ec_set_pub_key(ec, public, 96));
    libspdm_ec_free(ec);
    return 0;
}

static int check_agreement(void)
{
    u8 ours[96], theirs[96], one[48], other[48];
    size_t size;
    void *a = libspdm_ec_new_by_nid(LIBSPDM_CRYPTO_NID_SECP384R1);
    void *b = libspdm_ec_new_by_nid(LIBSPDM_CRYPTO_NID_SECP384R1);

    CHECK(a && b);
    CHECK(lkca_ec_generate_key(a, ours, &size) && lkca_ec_generate_key(b, theirs, &size));
    size = 48;
    CHECK(lkca_ec_compute_key(a, theirs, 96, one, &size) && size == 48);
    CHECK(lkca_ec_compute_key(b, ours, 96, other, &size) && !memcmp(one, other, 48));
    libspdm_ec_free(a);
    libspdm_ec_free(b);
    return 0;
}

// The transcript of a session is copied before it is closed: the copy and the
// original have to go on alike.
static int check_hmac(void)
{
    u8 k[48], m[64], want[48], got[48];
    void *one = libspdm_hmac_sha384_new(), *other = libspdm_hmac_sha384_new();

    CHECK(one && other);
    CHECK(bytes(secret, k, 48) && bytes(message, m, 64) && bytes(hmac, want, 48));
    CHECK(libspdm_hmac_sha384_all(m, 64, k, 48, got) && !memcmp(got, want, 48));
    CHECK(libspdm_hmac_sha384_set_key(one, k, 48));
    CHECK(libspdm_hmac_sha384_update(one, m, 20));
    CHECK(libspdm_hmac_sha384_duplicate(one, other));
    CHECK(libspdm_hmac_sha384_update(one, m + 20, 44) && libspdm_hmac_sha384_final(one, got) && !memcmp(got, want, 48));
    CHECK(libspdm_hmac_sha384_update(other, m + 20, 44) && libspdm_hmac_sha384_final(other, got) && !memcmp(got, want, 48));
    libspdm_hmac_sha384_free(one);
    libspdm_hmac_sha384_free(other);
    return 0;
}

static int check_cipher(void)
{
    u8 k[32] = {1}, iv[12] = {2}, plain[64] = {3}, sealed[64], tag[16], opened[64];
    size_t size = sizeof(sealed);

    CHECK(libspdm_aead_aes_gcm_encrypt(k, 32, iv, 12, iv, 12, plain, 64, tag, 16, sealed, &size));
    CHECK(libspdm_aead_aes_gcm_decrypt(k, 32, iv, 12, iv, 12, sealed, 64, tag, 16, opened, &size));
    CHECK(memcmp(sealed, plain, 64) && !memcmp(opened, plain, 64));
    tag[0] ^= 1;
    CHECK(!libspdm_aead_aes_gcm_decrypt(k, 32, iv, 12, iv, 12, sealed, 64, tag, 16, opened, &size));
    return 0;
}

static int __init spdm_check_init(void)
{
    int err = check_signature() ?: check_agreement() ?: check_hmac() ?: check_cipher();

    return err ?: -ECANCELED;
}

module_init(spdm_check_init);
MODULE_LICENSE("Dual MIT/GPL");
MODULE_DESCRIPTION("test of the driver's cryptography");
