/** The verifier of secretvm as WebAssembly, for browsers and Node 20 or newer. */

/** Binary input, or text (PEM, hex, YAML, JSON). */
export type Bytes = Uint8Array | ArrayBuffer | ArrayBufferView | string;

/**
 * What the caller expects of the machine. What is left out is not compared; a bundle is then judged by the wishes that
 * it recorded, but only if nothing at all is said here about the machine (roots and time are not about it).
 */
export interface Wanted {
  /** The compose file, byte for byte. */
  compose?: Bytes;
  /** The archive of files that belongs to it. */
  files?: Bytes;
  /** manifest.json of the image that the machine should boot. */
  manifest?: Bytes | object;
  /** Known images of existing SecretVM: tdx.csv, sev.json, or both. */
  registry?: Bytes | Bytes[];
  /** A policy file, YAML. What it says and another option says too, the option decides; files that it names are those of the options. */
  policy?: Bytes;
  /**
   * What vendors sign, where the evidence comes without it. Intel: dcap-qvl's JSON, our own, or a chain's blob.
   * AMD: certificates and revocation lists, PEM or DER; up to four files.
   */
  collateral?: Bytes | Bytes[];
  /** Root certificates, PEM, accepted beside the vendors' own. */
  trustRoots?: Bytes | Bytes[];
  /** Bundles only: accept the roots that the bundle brings. Whoever made it chose them. */
  trustBundleRoots?: boolean;
  /** KMS service id, owner/name. */
  service?: string;
  /** Hex of the KMS's group key. */
  groupKey?: string;
  /** When to judge validity. Default: now; for a bundle, the time that it recorded. */
  time?: Date | string | number;
}

export type VerdictWord = 'VERIFIED' | 'UNVERIFIED WORKLOAD' | 'NOT VERIFIED' | 'UNREACHABLE';

/** Why something was refused. Codes are stable; docs/verification.md lists them. */
export interface Refusal {
  code: string;
  field?: string;
  found?: string;
  wanted?: string;
  reason: string;
  hint?: string;
}

/** One subject: what was looked at and what came of it. */
export interface Check {
  name: string;
  /** true: holds; false: fails; null: not compared, or nothing could be. */
  ok: boolean | null;
  what: string;
  detail?: string;
  code?: string;
  refusal?: Refusal;
}

/** The root certificate that a verdict rests on. */
export interface Anchor {
  subject: string;
  /** SHA-256 of the certificate, hex. */
  sha256: string;
  /** Whether it is Intel's production root. */
  intel: boolean;
  vendor?: string;
}

/** Identity registers, hex. */
export interface Measurement {
  mrtd: string;
  rtmr: [string, string, string, string];
  mr_config_id: string;
}

export interface MeasuredEvent {
  register: number;
  name: string;
  /** base64 */
  payload?: string;
  /** hex */
  digest: string;
}

/** An unsigned integer of 64 bits: decimal digits where a number cannot hold it. */
export type Uint64 = number | string;

/** An entry of the firmware's log that explains a register. What is not proven is the machine's word. */
export interface BootEvent {
  register: number;
  type: string;
  name: string;
  description: string;
  /** hex */
  digest: string;
  proven: boolean;
}

/** What an SEV-SNP report says. Strings of bytes are hex. */
export interface SNPFacts {
  version: number;
  product: string;
  measurement: string;
  host_data: string;
  policy: Uint64;
  platform_info: Uint64;
  vmpl: number;
  guest_svn: number;
  family_id: string;
  image_id: string;
  id_key_digest: string;
  author_key_digest: string;
  reported_tcb: Uint64;
  committed_tcb: Uint64;
  current_tcb: Uint64;
  launch_tcb: Uint64;
  firmware: string;
  signed_by: string;
}

/** What the report of an SGX enclave says. Strings of bytes are hex. */
export interface SGXFacts {
  mrenclave: string;
  mrsigner: string;
  isv_prod_id: number;
  isv_svn: number;
  attributes: string;
}

/** What the evidence of one GPU or switch proves. */
export interface GPUFacts {
  kind: 'gpu' | 'switch';
  architecture: string;
  model: string;
  sku?: string;
  hardware_id: string;
  driver?: string;
  firmware?: string;
  /** Talks through NVSwitches in the clear; the switches that it is linked with have to prove themselves too. */
  protected_pcie?: boolean;
  measured: boolean;
  unrevoked: boolean;
  vouched_by?: string;
  anchor: Anchor;
}

/** What genuine evidence proves; absent unless it is genuine. */
export interface Machine {
  tee: string;
  measurement: Measurement;
  /** base64 of 64 bytes */
  report_data: string;
  attributes: Uint64;
  xfam: Uint64;
  tcb_status: string;
  advisories?: string[];
  fmspc: string;
  anchor: Anchor;
  /** RFC 3339: the earliest end of validity that the verdict relied upon. */
  valid_until: string;
  /** Intel: tcbEvaluationDataNumber of the collateral. */
  evaluation?: number;
  /** Collateral is past its nextUpdate, which the policy tolerates. */
  stale?: boolean;
  events?: MeasuredEvent[];
  boot_log?: BootEvent[];
  hardware_id?: string;
  snp?: SNPFacts;
  sgx?: SGXFacts;
  gpus?: GPUFacts[];
  early?: { tcb_status: string; advisories?: string[]; evaluation: number };
}

/** The outcome of one verification: the document that `secretvm verify --json` prints. */
export interface Report {
  url: string;
  time: string;
  verdict: VerdictWord;
  summary: string;
  /** Whose machine it is, where it is not one of secretvm's own. */
  system?: string;
  /** A development machine: real formats, no confidentiality. */
  soft: boolean;
  warnings?: string[];
  anchor?: Anchor;
  /** SHA-256 of the TLS key, hex; zeros where nobody saw the connection. */
  tls_key: string;
  checks: Check[];
  machine?: Machine;
  /** The application's log, where the quote is about it: what containers entered, oldest first. */
  application?: MeasuredEvent[];
}

/** What a bundle holds, before anything of it is believed. */
export interface BundleContents {
  url: string;
  /** When its maker judged it. */
  time: string;
  /** What its maker compared with. */
  compares: string[];
  /** Roots that it brings. They are not trusted unless trustBundleRoots says so. */
  roots?: { subject: string; sha256: string }[];
}

/** What a file consists of, decoded and NOT verified: anyone can write such bytes. */
export interface Exhibit {
  form: string;
  sections: { title: string; rows: { name: string; value: string; remark?: string }[] }[];
}

/** Input of which no report can be made: not a bundle, over a bound, an option that has no meaning. */
export class VerifyError extends Error {
  refusal: Refusal;
  code: string;
}

/** Starts the program; optional. By default from verify.wasm beside index.js. */
export function load(source?: BufferSource | WebAssembly.Module | URL | string): Promise<void>;

/** Judges a bundle that `secretvm verify --bundle` made. Needs no network. */
export function verifyBundle(bundle: Uint8Array | ArrayBuffer | ArrayBufferView, wanted?: Wanted): Promise<Report>;

/** Judges evidence in any form that `secretvm verify FILE` reads. Needs no network. */
export function verifyEvidence(evidence: Bytes | object, wanted?: Wanted): Promise<Report>;

/**
 * Asks the machine at url (https, port 29343 unless named) and judges its answer. In a browser, its certificate must
 * have been accepted before, and the check `connection` stays undecided: a script does not see the TLS key.
 */
export function verifyURL(url: string | URL, wanted?: Wanted & { signal?: AbortSignal }): Promise<Report>;

/** Lists what a bundle holds. */
export function bundleContents(bundle: Uint8Array | ArrayBuffer | ArrayBufferView): Promise<BundleContents>;

/**
 * Decodes a bundle, evidence in any form, collateral, certificates, a boot log; or, given a report of this module, what
 * that report is about. Verifies nothing.
 */
export function show(input: Bytes | Report): Promise<Exhibit>;

/**
 * The lines that `secretvm verify` prints, of a report that this module returned (not of a copy); with verbose also
 * what `secretvm verify -v` prints below them.
 */
export function reportText(report: Report, options?: { verbose?: boolean }): string;
