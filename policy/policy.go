package policy

import (
	"time"

	"github.com/secretvm/secretvm/vm"
)

// Policy is one policy file. Everything may be left out; what is left out is
// not compared, or has the strictest meaning. Paths are relative to the file.
type Policy struct {
	Version    int        `yaml:"version" doc:"of this schema, always 1" enum:"1"`
	Image      Image      `yaml:"image" doc:"what the machine must have booted"`
	Workload   Workload   `yaml:"workload" doc:"what it must run, and for whom"`
	Machine    Machine    `yaml:"machine" doc:"what it may be"`
	TCB        TCB        `yaml:"tcb" doc:"how current its platform must be; without it: Intel's status UpToDate, now"`
	SNP        SNP        `yaml:"snp" doc:"what AMD SEV-SNP machines must be, beyond genuine"`
	GPU        GPU        `yaml:"gpu" doc:"NVIDIA devices"`
	Freshness  Freshness  `yaml:"freshness" doc:"how fresh the evidence must be"`
	Collateral Collateral `yaml:"collateral" doc:"the vendors' signed statements about platforms"`
	TrustRoots []string   `yaml:"trust_roots" doc:"PEM files of roots that are accepted beside the vendors'; a soft TEE needs its own here" kind:"path"`
}

// Image is what the machine must have booted: a manifest, or values.
type Image struct {
	Manifest  string        `yaml:"manifest" doc:"manifest of the image, as built or as published by who built it" kind:"path"`
	Registers []Registers   `yaml:"registers" doc:"instead: registers of known machines; one entry must hold whole"`
	Registry  []string      `yaml:"registry" doc:"existing SecretVM: files of known images (tdx.csv, sev.json), from whoever you trust to say what is good" kind:"path"`
	RootHash  *vm.Hash      `yaml:"root_hash" doc:"dm-verity root hash of the root file system, which a manifest names too; of dstack: os_image_hash"`
	Dev       bool          `yaml:"dev" doc:"accept images for development, whose operator can run commands in the machine"`
	Launch    []vm.Register `yaml:"launch" doc:"SEV-SNP: accepted launch measurements"`
}

// Registers are those of one known TDX machine.
type Registers struct {
	MRTD  *vm.Register `yaml:"mrtd" doc:"firmware" required:"true"`
	RTMR0 *vm.Register `yaml:"rtmr0" doc:"virtual hardware and firmware settings" required:"true"`
	RTMR1 *vm.Register `yaml:"rtmr1" doc:"kernel" required:"true"`
	RTMR2 *vm.Register `yaml:"rtmr2" doc:"command line and initramfs" required:"true"`
	RTMR3 *vm.Register `yaml:"rtmr3" doc:"what was measured after the start; with it, no compose file is needed"`
}

// Workload is what the machine must run, and for whom.
type Workload struct {
	Compose     string   `yaml:"compose" doc:"the compose file, byte for byte" kind:"path"`
	ComposeHash *vm.Hash `yaml:"compose_sha256" doc:"instead of the file: its SHA-256"`
	Files       string   `yaml:"files" doc:"the archive that belongs to it" kind:"path"`
	FilesHash   *vm.Hash `yaml:"files_sha256" doc:"instead of the archive: its SHA-256"`
	Service     string   `yaml:"service" doc:"the KMS service that it must belong to, owner/name"`
	KMS         string   `yaml:"kms" doc:"group key of the key manager that it must obey, 192 hex digits"`
	HostData    *vm.Hash `yaml:"host_data" doc:"SEV-SNP: HOST_DATA"`
}

// Machine is what the machine may be.
type Machine struct {
	TEE          []vm.TEE `yaml:"tee" doc:"kinds that are accepted; without it all whose root is accepted" enum:"tdx,snp,sgx,soft"`
	Hardware     []string `yaml:"hardware" doc:"ids of the accepted processors in hex (platform instance id, chip id), as shown by verify -v"`
	TDAttributes bits     `yaml:"td_attributes" doc:"TD attribute bits accepted beyond SEPT_VE_DISABLE; DEBUG never"`
	XFAM         bits     `yaml:"xfam" doc:"extended feature bits accepted beyond those that TDX defines"`
	SEPTVE       bool     `yaml:"sept_ve" doc:"accept machines into which the host can inject exceptions (SEPT_VE_DISABLE off)"`
}

// TCB is how current the platform must be.
type TCB struct {
	Accept        []string `yaml:"accept" doc:"TCB statuses that are good enough; without it UpToDate" enum:"UpToDate,SWHardeningNeeded,ConfigurationNeeded,ConfigurationAndSWHardeningNeeded,OutOfDate,OutOfDateConfigurationNeeded"`
	Advisories    []string `yaml:"advisories" doc:"known weaknesses that are accepted: a status with these alone is good enough"`
	GraceDays     int      `yaml:"grace_days" doc:"days for hosts to update: out of date is accepted so long after the date of the first level that the platform misses"`
	MinEvaluation int      `yaml:"min_evaluation" doc:"least tcbEvaluationDataNumber of Intel's collateral"`
}

// Freshness is how fresh the evidence must be.
type Freshness struct {
	Required bool     `yaml:"required" doc:"connection and nonce must be the caller's own: no files, no bundles"`
	MaxAge   duration `yaml:"max_age" doc:"time between asking and judging, such as 10m; bundles older than that are refused"`
}

// Collateral is about the vendors' signed statements.
type Collateral struct {
	StaleDays int  `yaml:"stale_days" doc:"days that collateral may be over its nextUpdate, for outages of the vendor's service"`
	Offline   bool `yaml:"offline" doc:"never ask the network for collateral that is missing"`
}

// bits is a 64-bit set, in YAML a number such as 0x40000000.
type bits uint64

// duration is a time.Duration, in YAML such as 10m or 24h.
type duration time.Duration
