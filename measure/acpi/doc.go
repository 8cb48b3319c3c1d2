// Package acpi knows the three fw_cfg files in which QEMU hands its ACPI tables
// to OVMF, and which OVMF measures as it downloads them: etc/acpi/tables,
// etc/acpi/rsdp and etc/table-loader.
//
// The tables were read once from the locked QEMU, for every number of vCPUs
// (package host/qtest asks it, go generate packs the answers), and are part of
// the program: a prediction asks nobody. Memory enters the tables in one place
// only, the window of PCI devices below 4 GiB, which For sets.
//
// They are those of the TDX machine that host/qemu describes, under OVMF on a
// processor with at least 46 physical address bits, as every one with TDX has.
package acpi
