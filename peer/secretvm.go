package peer

import (
	"strings"

	"github.com/secretvm/secretvm/measure/snp"
	"github.com/secretvm/secretvm/vm"
)

// Scheme is how an existing SecretVM image measures its workload.
type Scheme string

// The schemes.
const (
	Digests     Scheme = "digests"      // TDX: bare SHA-256 digests, by attest-tool
	Events      Scheme = "events"       // TDX: named events, by dstack-util, where the KMS is dstack or gramine
	CommandLine Scheme = "command line" // SEV-SNP: digests on the measured kernel command line
)

// Workload is what may run in a machine.
type Workload struct {
	Compose vm.Hash  // SHA-256 of the raw compose file
	Files   *vm.Hash // of the archive beside it, where there is one
	AppID   []byte   // of dstack's key provider; empty where there is none
}

// Match is an image that, with the workload, explains every register.
type Match struct {
	Image  Image  `json:"image"`
	Scheme Scheme `json:"scheme"`
	CPUs   int    `json:"cpus,omitempty"` // SEV-SNP
	rootfs vm.Hash
}

// Rootfs is the SHA-256 of the root file system.
func (m Match) Rootfs() vm.Hash { return m.rootfs }

// Known returns the images that agree with the machine in firmware, virtual
// hardware, kernel, initramfs and command line. They may differ in their root
// file systems, which RTMR3 tells apart together with the workload.
func (r *Registry) Known(m vm.Measurement) (images []TDXImage) {
	for _, image := range r.TDX {
		if image.MRTD == m.MRTD && image.RTMR0 == m.RTMR[0] && image.RTMR1 == m.RTMR[1] && image.RTMR2 == m.RTMR[2] {
			images = append(images, image)
		}
	}
	return images
}

// MatchTDX returns every image with which the workload explains all registers
// of a TDX machine. None means that it does not run this workload on any image
// of the registry.
func (r *Registry) MatchTDX(m vm.Measurement, w Workload) (matches []Match) {
	for _, image := range r.Known(m) {
		for _, scheme := range []Scheme{Digests, Events} {
			if w.rtmr3(image.Rootfs, scheme) == m.RTMR[vm.RuntimeRegister] {
				matches = append(matches, Match{Image: image.Image, Scheme: scheme, rootfs: image.Rootfs})
			}
		}
	}
	return matches
}

// rtmr3 computes the register as /init of the image leaves it.
//
// Digests: each SHA-256 is padded with 16 zero bytes and extended as it is, in
// the order compose, root file system, files; only the order tells them apart.
// Events: app-id, compose-hash, os-image-hash, docker-files-hash in dstack's
// event format, which is also ours.
func (w Workload) rtmr3(rootfs vm.Hash, scheme Scheme) (r vm.Register) {
	if scheme == Digests {
		hashes := []vm.Hash{w.Compose, rootfs}
		if w.Files != nil {
			hashes = append(hashes, *w.Files)
		}
		for _, h := range hashes {
			var digest vm.Register
			copy(digest[:], h[:])
			r = r.Extend(digest)
		}
		return r
	}
	events := []vm.Event{
		vm.RuntimeEvent("app-id", w.AppID), vm.RuntimeEvent(vm.EventCompose, w.Compose[:]), vm.RuntimeEvent(vm.EventImage, rootfs[:]),
	}
	if w.Files != nil {
		events = append(events, vm.RuntimeEvent(vm.EventFiles, w.Files[:]))
	}
	for _, e := range events {
		r = r.Extend(e.Digest)
	}
	return r
}

// templates are SecretVM's sizes by number of CPUs.
var templates = []struct {
	cpus int
	name string
}{{1, "small"}, {2, "medium"}, {4, "large"}, {8, "2xlarge"}, {16, "4xlarge"}}

// MatchSNP returns every image, with the number of CPUs, with which the
// workload explains the launch digest of an SEV-SNP machine. The family and
// image ids of the report, which are the host's words, are not looked at.
func (r *Registry) MatchSNP(measurement vm.Register, w Workload) (matches []Match) {
	for _, image := range r.SNP {
		for _, t := range templates {
			digest, err := image.predict(w.options(image), t.cpus)
			if err == nil && digest == measurement {
				m := Match{Image: image.Image, Scheme: CommandLine, CPUs: t.cpus, rootfs: image.Rootfs}
				m.Image.Template = t.name
				matches = append(matches, m)
			}
		}
	}
	return matches
}

func (i SNPImage) predict(commandLine string, cpus int) (vm.Register, error) {
	return snp.Predict(snp.Launch{
		Firmware: i.Firmware, CPUs: cpus, CPU: i.CPU,
		Hashes: &snp.Hashes{Kernel: i.Kernel, Initrd: i.Initrd, CommandLine: snp.HashCommandLine(commandLine)},
	})
}

// options is the kernel command line that the host must have passed.
func (w Workload) options(image SNPImage) string {
	options := []string{"console=ttyS0", "loglevel=7"}
	if image.ExtraOptions != "" {
		options = append(options, image.ExtraOptions)
	}
	options = append(options, "docker_compose_hash="+w.Compose.String(), "rootfs_hash="+image.Rootfs.String())
	if w.Files != nil {
		options = append(options, "docker_additional_files_hash="+w.Files.String())
	}
	return strings.Join(options, " ")
}
