package vm

import "time"

// Measurement is the set of identity registers of a TD.
type Measurement struct {
	MRTD       Register    `json:"mrtd"`
	RTMR       [4]Register `json:"rtmr"`
	MRConfigID Register    `json:"mr_config_id"`
}

// Bounds on what a verifier reads, in bytes.
const (
	MaxQuoteSize      = 16 << 10
	MaxCollateralSize = 256 << 10
	MaxEventsSize     = 64 << 10
	MaxBootLogSize    = 256 << 10 // CCEL
	MaxGPUSize        = 4 << 20   // evidence, certificates and reference documents of all devices
	MaxGPUs           = 16        // GPUs and switches together
)

// Evidence is what a machine shows: a quote, the events that explain its
// registers, and, where the machine has it, the collateral to check the quote.
type Evidence struct {
	TEE        TEE            `json:"tee"`                // a hint; the trust anchor decides
	Quote      []byte         `json:"quote"`              // TDX: DCAP quote, v4 or v5; SGX: v3; SNP: ATTESTATION_REPORT
	Events     []Event        `json:"events,omitempty"`   // runtime events (RTMR3), in order
	BootLog    []byte         `json:"boot_log,omitempty"` // CCEL: the firmware's log of RTMR0–2, TCG crypto-agile format
	Collateral *Collateral    `json:"collateral,omitempty"`
	AMD        *AMDCollateral `json:"amd,omitempty"`
	GPU        *GPUEvidence   `json:"gpu,omitempty"`
}

// AMDCollateral is AMD's signed material around an SEV-SNP report, as its key
// distribution service (KDS) serves it.
type AMDCollateral struct {
	EndorsementKey []byte `json:"endorsement_key"` // DER: the VCEK, or the VLEK
	Chain          []byte `json:"chain"`           // PEM: ASK (or ASVK), ARK
	CRL            []byte `json:"crl,omitempty"`   // DER, signed by the ARK
}

// GPUEvidence is what NVIDIA devices in confidential mode show about
// themselves, over one nonce.
type GPUEvidence struct {
	Nonce   []byte      `json:"nonce"` // 32 bytes
	Devices []GPUDevice `json:"devices"`
	RIMs    [][]byte    `json:"rims,omitempty"`  // reference integrity manifests: signed XML, of driver and VBIOS
	OCSP    [][]byte    `json:"ocsp,omitempty"`  // DER responses about the certificates of devices and RIMs
	Token   []byte      `json:"token,omitempty"` // NVIDIA's remote attestation service's answer (EAT), if one was asked
}

// GPUDevice is the evidence of one GPU or NVSwitch.
type GPUDevice struct {
	Kind         string `json:"kind"`                   // "gpu" or "switch"
	Architecture string `json:"architecture,omitempty"` // a hint: HOPPER, BLACKWELL …
	Evidence     []byte `json:"evidence"`               // SPDM GET_MEASUREMENTS request ‖ response
	CertChain    []byte `json:"cert_chain"`             // PEM: the device's certificate first
}

// Collateral is Intel's signed material around a quote, as PCS serves it.
type Collateral struct {
	PCKCRL          []byte `json:"pck_crl"`           // DER
	PCKCRLChain     []byte `json:"pck_crl_chain"`     // PEM: issuer, root
	RootCACRL       []byte `json:"root_ca_crl"`       // DER
	TCBInfo         []byte `json:"tcb_info"`          // the whole JSON answer: {"tcbInfo":…,"signature":…}
	TCBInfoChain    []byte `json:"tcb_info_chain"`    // PEM: signer, root
	QEIdentity      []byte `json:"qe_identity"`       // the whole JSON answer: {"enclaveIdentity":…,"signature":…}
	QEIdentityChain []byte `json:"qe_identity_chain"` // PEM: signer, root
}

// Verdict is what a verifier learnt from genuine evidence. It says nothing
// about whether that is what anybody wanted: comparing is the caller's.
type Verdict struct {
	TEE         TEE         `json:"tee"`
	Measurement Measurement `json:"measurement"`
	ReportData  []byte      `json:"report_data"` // 64 bytes
	Attributes  uint64      `json:"attributes"`  // TD attributes; DEBUG is refused before
	XFAM        uint64      `json:"xfam"`
	TCBStatus   string      `json:"tcb_status"` // Intel's word: UpToDate, OutOfDate …
	Advisories  []string    `json:"advisories,omitempty"`
	FMSPC       string      `json:"fmspc"`
	Evaluation  int         `json:"evaluation,omitempty"` // Intel: tcbEvaluationDataNumber of the collateral
	Anchor      Anchor      `json:"anchor"`
	ValidUntil  time.Time   `json:"valid_until"`     // the earliest end of validity that was relied upon, with what the policy adds to it
	Stale       bool        `json:"stale,omitempty"` // collateral is past its nextUpdate, which the policy tolerates
	Events      []Event     `json:"events,omitempty"`
	BootLog     []BootEvent `json:"boot_log,omitempty"`    // of RTMR0–2, which its replay explains, where a log came along
	HardwareID  string      `json:"hardware_id,omitempty"` // hex: platform instance id (Intel), chip id (AMD), where the evidence names one
	SNP         *SNPFacts   `json:"snp,omitempty"`         // of SEV-SNP only
	SGX         *SGXFacts   `json:"sgx,omitempty"`         // of SGX only
	GPUs        []GPUFacts  `json:"gpus,omitempty"`        // of devices whose evidence came along, all genuine
	Early       *Outlook    `json:"early,omitempty"`       // what the next TCB recovery will say, where its collateral was given
}

// BootEvent is one entry of a firmware's boot log that explains a register.
// Register and Digest are then proven; the rest is the machine's word, but for
// a Description that is Proven.
type BootEvent struct {
	Register    int      `json:"register"` // 0–3: RTMR index
	Type        string   `json:"type"`     // TCG's name: EV_SEPARATOR …
	Name        string   `json:"name"`     // as in predictions: kernel, command-line …
	Description string   `json:"description"`
	Digest      Register `json:"digest"`
	Proven      bool     `json:"proven"` // whether the digest is that of what Description says
}

// SGXFacts is what the report of an SGX enclave says beyond report data.
type SGXFacts struct {
	MREnclave  Hash   `json:"mrenclave"` // measurement of the enclave
	MRSigner   Hash   `json:"mrsigner"`  // SHA-256 of its signer's key
	ProductID  uint16 `json:"isv_prod_id"`
	SVN        uint16 `json:"isv_svn"`
	Attributes Hex16  `json:"attributes"`
}

// SNPFacts is what an SEV-SNP report says beyond report data.
type SNPFacts struct {
	Version      uint32   `json:"version"` // of the report
	Product      string   `json:"product"` // Milan, Milan-X, Genoa, Genoa-X, Bergamo/Siena or Turin
	Measurement  Register `json:"measurement"`
	HostData     Hash     `json:"host_data"`
	Policy       uint64   `json:"policy"`
	PlatformInfo uint64   `json:"platform_info"`
	VMPL         uint32   `json:"vmpl"`
	GuestSVN     uint32   `json:"guest_svn"`
	FamilyID     Hex16    `json:"family_id"`
	ImageID      Hex16    `json:"image_id"`
	IDKey        Register `json:"id_key_digest"`
	AuthorKey    Register `json:"author_key_digest"`
	ReportedTCB  uint64   `json:"reported_tcb"`  // of the key that signed
	CommittedTCB uint64   `json:"committed_tcb"` // below which the host cannot go back
	CurrentTCB   uint64   `json:"current_tcb"`
	LaunchTCB    uint64   `json:"launch_tcb"`
	Firmware     string   `json:"firmware"`  // version that runs: major.minor.build
	SignedBy     string   `json:"signed_by"` // VCEK or VLEK
}

// GPUFacts is what the evidence of one GPU or switch proves.
type GPUFacts struct {
	Kind         string `json:"kind"`         // "gpu" or "switch"
	Architecture string `json:"architecture"` // HOPPER, BLACKWELL; of switches LS10
	Model        string `json:"model"`        // chip: GH100 …
	SKU          string `json:"sku,omitempty"`
	HardwareID   string `json:"hardware_id"` // hex: serial number of the certificate of the boot ROM in silicon
	Driver       string `json:"driver,omitempty"`
	Firmware     string `json:"firmware,omitempty"` // VBIOS, or the switch's firmware
	// ProtectedPCIe: GPUs of this mode talk through NVSwitches in the clear, and
	// the switches that they are linked with have to prove themselves too.
	ProtectedPCIe bool `json:"protected_pcie,omitempty"`

	Measured  bool   `json:"measured"`             // whether all measurements are those of NVIDIA's reference documents
	Unrevoked bool   `json:"unrevoked"`            // whether NVIDIA said so of every certificate that counts
	VouchedBy string `json:"vouched_by,omitempty"` // issuer of a token that says the same, where the policy trusts one
	Anchor    Anchor `json:"anchor"`
}

// Outlook is the TCB status that a platform has under another evaluation.
type Outlook struct {
	TCBStatus  string   `json:"tcb_status"`
	Advisories []string `json:"advisories,omitempty"`
	Evaluation int      `json:"evaluation"` // tcbEvaluationDataNumber
}

// Anchor is the root certificate that a verdict rests on.
type Anchor struct {
	Subject string `json:"subject"`
	SHA256  Hash   `json:"sha256"`           // of the certificate's DER
	Intel   bool   `json:"intel"`            // whether it is Intel's production SGX root CA
	Vendor  string `json:"vendor,omitempty"` // Intel, AMD or NVIDIA, for a production root that is built in
}
