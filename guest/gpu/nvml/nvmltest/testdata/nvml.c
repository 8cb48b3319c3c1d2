/* A stand-in for libnvidia-ml.so.1 with the prototypes and structures of
 * NVIDIA's nvml.h (CUDA 12.4), for tests: it answers from the files of the
 * folder that it lies in. No GPU, no driver. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

typedef int nvmlReturn_t;
typedef struct nvmlDevice_st *nvmlDevice_t;
struct nvmlDevice_st { unsigned int index; };

typedef struct { unsigned int environment, ccFeature, devToolsMode; } nvmlConfComputeSystemState_t;

typedef struct nvmlConfComputeGpuCertificate_st {
    unsigned int certChainSize;
    unsigned int attestationCertChainSize;
    unsigned char certChain[0x1000];
    unsigned char attestationCertChain[0x1400];
} nvmlConfComputeGpuCertificate_t;

typedef struct nvmlConfComputeGpuAttestationReport_st {
    unsigned int isCecAttestationReportPresent;
    unsigned int attestationReportSize;
    unsigned int cecAttestationReportSize;
    unsigned char nonce[0x20];
    unsigned char attestationReport[0x2000];
    unsigned char cecAttestationReport[0x1000];
} nvmlConfComputeGpuAttestationReport_t;

enum { SUCCESS = 0, UNINITIALIZED = 1, INVALID_ARGUMENT = 2, NOT_FOUND = 6, INSUFFICIENT_SIZE = 7, UNKNOWN = 999 };

static int initialised;
static unsigned int accepting;
static struct nvmlDevice_st devices[16];

/* beside opens a file in the library's folder. */
static FILE *beside(const char *name, const char *mode) {
    char path[4096];
    Dl_info self;
    if (!dladdr(devices, &self) || !strrchr(self.dli_fname, '/')) return NULL;
    int folder = (int)(strrchr(self.dli_fname, '/') - self.dli_fname);
    snprintf(path, sizeof path, "%.*s/%s", folder, self.dli_fname, name);
    return fopen(path, mode);
}

/* content reads a file; -1: there is none, or it is too large. */
static long content(const char *name, void *to, long room) {
    FILE *f = beside(name, "rb");
    if (!f) return -1;
    long n = (long)fread(to, 1, (size_t)room, f);
    int more = fgetc(f) != EOF;
    fclose(f);
    return more ? -1 : n;
}

static unsigned int number(const char *name, unsigned int otherwise) {
    char text[16] = {0};
    unsigned int n;
    return content(name, text, sizeof text - 1) > 0 && sscanf(text, "%u", &n) == 1 ? n : otherwise;
}

nvmlReturn_t nvmlInit_v2(void) {
    if (number("init", SUCCESS) != SUCCESS) return (nvmlReturn_t)number("init", SUCCESS);
    initialised = 1;
    return SUCCESS;
}

const char *nvmlErrorString(nvmlReturn_t code) { return code == 9 ? "Driver Not Loaded" : code == SUCCESS ? "Success" : "Failed"; }

nvmlReturn_t nvmlSystemGetDriverVersion(char *version, unsigned int length) {
    if (length < 80) return INSUFFICIENT_SIZE;
    strcpy(version, "550.163.01");
    return initialised ? SUCCESS : UNINITIALIZED;
}

nvmlReturn_t nvmlDeviceGetCount_v2(unsigned int *count) {
    *count = number("count", 1);
    return initialised ? SUCCESS : UNINITIALIZED;
}

nvmlReturn_t nvmlDeviceGetHandleByIndex_v2(unsigned int index, nvmlDevice_t *device) {
    if (index >= number("count", 1) || index >= 16) return INVALID_ARGUMENT;
    devices[index].index = index;
    *device = &devices[index];
    return SUCCESS;
}

nvmlReturn_t nvmlDeviceGetUUID(nvmlDevice_t device, char *uuid, unsigned int length) {
    snprintf(uuid, length, "GPU-00000000-0000-0000-0000-%012u", device->index);
    return SUCCESS;
}

nvmlReturn_t nvmlDeviceGetMinorNumber(nvmlDevice_t device, unsigned int *minor) {
    *minor = device->index;
    return SUCCESS;
}

nvmlReturn_t nvmlDeviceGetArchitecture(nvmlDevice_t device, unsigned int *architecture) {
    *architecture = 9; /* NVML_DEVICE_ARCH_HOPPER */
    return device ? SUCCESS : INVALID_ARGUMENT;
}

nvmlReturn_t nvmlDeviceSetPersistenceMode(nvmlDevice_t device, int mode) { return device && mode == 1 ? SUCCESS : INVALID_ARGUMENT; }

nvmlReturn_t nvmlSystemGetConfComputeState(nvmlConfComputeSystemState_t *state) {
    state->environment = number("environment", 2);
    state->ccFeature = number("feature", 1);
    state->devToolsMode = number("devtools", 0);
    return SUCCESS;
}

nvmlReturn_t nvmlDeviceGetConfComputeGpuCertificate(nvmlDevice_t device, nvmlConfComputeGpuCertificate_t *certificate) {
    memset(certificate, 0xee, sizeof *certificate); /* a size that is wrong shows */
    long n = content("chain", certificate->attestationCertChain, sizeof certificate->attestationCertChain);
    if (!device || n < 0) return NOT_FOUND;
    certificate->certChainSize = 0;
    certificate->attestationCertChainSize = (unsigned int)n;
    return SUCCESS;
}

nvmlReturn_t nvmlDeviceGetConfComputeGpuAttestationReport(nvmlDevice_t device, nvmlConfComputeGpuAttestationReport_t *report) {
    unsigned char nonce[sizeof report->nonce];
    memcpy(nonce, report->nonce, sizeof nonce);
    memset(report, 0xee, sizeof *report);
    memcpy(report->nonce, nonce, sizeof nonce);
    FILE *f = beside("asked", "wb"); /* what the caller put where the nonce is */
    if (!f || fwrite(nonce, 1, sizeof nonce, f) != sizeof nonce || fclose(f)) return UNKNOWN;
    long n = content("report", report->attestationReport, sizeof report->attestationReport);
    if (!device || n < 0) return NOT_FOUND;
    report->isCecAttestationReportPresent = 0;
    report->attestationReportSize = (unsigned int)n;
    report->cecAttestationReportSize = 0;
    return SUCCESS;
}

nvmlReturn_t nvmlSystemGetConfComputeGpusReadyState(unsigned int *isAcceptingWork) {
    *isAcceptingWork = number("accepting", accepting);
    return SUCCESS;
}

nvmlReturn_t nvmlSystemSetConfComputeGpusReadyState(unsigned int isAcceptingWork) {
    accepting = isAcceptingWork;
    return SUCCESS;
}
