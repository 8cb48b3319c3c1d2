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
	BootOptions []efi.LoadOption      // Boot0000 and on, as the firmware makes them itself
	InitrdToken linuxboot.InitrdToken // place of "initrd=initrd" in the load options
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
