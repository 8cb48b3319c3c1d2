// Package linux builds secretvm's own kernel: Debian's linux-source with the
// options of minimal.config and no others. It has no modules, and QEMU's own
// values are in its setup header from the start, so that the same bytes are
// measured whichever QEMU hands it over and however much memory there is.
//
// The same bytes come out everywhere: see package foundry.
package linux
