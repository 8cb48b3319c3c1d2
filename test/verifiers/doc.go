// Package verifiers compares package attest with other verifiers of TDX
// quotes, google/go-tdx-guest and the npm package @phala/dcap-qvl: verdict by
// verdict, with each known difference named, and side by side in speed.
//
// dcap-qvl runs in Node. Tests find it through SECRETVM_DCAP_QVL, a folder with
// node_modules in it, and skip without; scripts/bench-verify makes that folder.
package verifiers
