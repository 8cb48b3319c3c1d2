package measure

import (
	"github.com/secretvm/secretvm/measure/efi"
	"github.com/secretvm/secretvm/measure/linuxboot"
	"github.com/secretvm/secretvm/measure/tdx"
)

// Profile is what one firmware version under one VMM version measures.
type Profile struct {
	Name        string
	PageOrder   tdx.Order             // of the host's kernel interface
	ReadyToBoot int                   // register of the separator at ReadyToBoot: 0 before edk2-stable202411, then 1
	Items       []Item                // of fw_cfg, measured by edk2-stable202505 and later
	SMBIOS      bool                  // whether SMBIOS tables are measured, as since edk2-stable202505
	BootOptions []efi.LoadOption      // Boot0000 and on, as the firmware makes them itself; none: no BootOrder either
	InitrdToken linuxboot.InitrdToken // place of "initrd=initrd" in the load options

	// KernelPatched says whether QEMU hands over the kernel with its own values
	// in the setup header: up to 9.x to every guest, since 10.2 to none that is
	// confidential. In between firmware since edk2-stable202502 gets the file.
	KernelPatched bool
}

// Item is one measured item of fw_cfg.
type Item struct {
	Name    string
	Content []byte
}

// EDK2Stable202502 is OVMF of Debian 13 (2025.02) under QEMU 10.2 or later,
// which hands an unpatched kernel to confidential guests. It is the last
// release whose RTMR0 holds neither fw_cfg items nor SMBIOS tables.
func EDK2Stable202502() Profile {
	return Profile{
		Name:        "edk2-stable202502, QEMU 10.2 or later",
		PageOrder:   tdx.SinglePass,
		ReadyToBoot: 1,
		BootOptions: []efi.LoadOption{{
			// Hidden application, made by PlatformBootManagerLib.
			Attributes:  0x109,
			Description: "UiApp",
			Volume:      efi.MustGUID("7cb8bdc9-f8eb-4f34-aaea-3ee4af6516a1"), // DXEFV
			File:        efi.MustGUID("462caa21-7614-4503-836e-8ab6f4662331"), // UiApp
		}},
		InitrdToken: linuxboot.Suffix,
	}
}

// Trimmed202502 is our own firmware of the same release: it has no application
// that could be booted, so that there is no BootOrder to measure.
func Trimmed202502() Profile {
	p := EDK2Stable202502()
	p.Name = "secretvm's own of edk2-stable202502, QEMU 10.2 or later"
	p.BootOptions = nil
	return p
}

// EDK2Stable202408 is firmware from edk2-stable202305 to 202408 under a QEMU up
// to 9.x: the separator of RTMR1 is in RTMR0, the kernel is patched.
func EDK2Stable202408() Profile {
	p := EDK2Stable202502()
	p.Name = "edk2-stable202305 to 202408, QEMU up to 9.x"
	p.ReadyToBoot, p.KernelPatched = platformRegister, true
	return p
}

// EDK2Stable202505 is firmware of that release under QEMU 10.2 or later: two boot
// options, fw_cfg items and the SMBIOS tables join RTMR0.
func EDK2Stable202505() Profile {
	p := EDK2Stable202502()
	p.Name = "edk2-stable202505, QEMU 10.2 or later"
	manager := p.BootOptions[0]
	manager.Description, manager.File = "BootManagerMenuApp", efi.MustGUID("eec25bdc-67f2-4d95-b1d5-f81b2039d11d")
	setup := p.BootOptions[0]
	setup.Description, setup.Attributes = "EFI Firmware Setup", 0x101
	p.BootOptions = []efi.LoadOption{manager, setup}
	p.Items = []Item{
		{"BootMenu", []byte{0, 0}},                                  // off
		{"bootorder", []byte("/rom@genroms/linuxboot_dma.bin\x00")}, // QEMU's own, of -kernel
	}
	p.SMBIOS = true
	return p
}

// EDK2Stable202508 is that of the next release, which has "initrd=initrd" first.
func EDK2Stable202508() Profile {
	p := EDK2Stable202505()
	p.Name = "edk2-stable202508, QEMU 10.2 or later"
	p.InitrdToken = linuxboot.Prefix
	return p
}
