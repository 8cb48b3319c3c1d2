// Package qtest asks a QEMU that never runs a guest what it would show to one.
// QEMU is started for a machine, paused, with its test protocol on standard
// input and output (docs/devel/testing/qtest.rst): lines that read and write
// ports and memory. With that the package does to the chipset what OVMF does
// before it downloads the ACPI tables, and downloads them.
package qtest
