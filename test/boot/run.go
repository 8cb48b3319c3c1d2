package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/secretvm/secretvm/compose"
	"github.com/secretvm/secretvm/configdisk"
	"github.com/secretvm/secretvm/host/local"
	"github.com/secretvm/secretvm/host/machine"
	"github.com/secretvm/secretvm/host/qemu"
	"github.com/secretvm/secretvm/vm"
)

type options struct {
	image, compose, state, qemu, secretvm       string
	owner, chain, group, kms, registry, measure string
	rootfs, commandLine                         string
	ports                                       []qemu.Forward
	timeout, powerOff                           time.Duration
}

func parse(args []string) (options, error) {
	var o options
	f := flag.NewFlagSet("boot", flag.ContinueOnError)
	f.StringVar(&o.image, "image", "dist/image", "image folder")
	f.StringVar(&o.compose, "compose", "", "compose file or folder (empty: an empty config disk)")
	f.StringVar(&o.state, "state", "", "machine folder, kept (empty: a temporary one)")
	f.StringVar(&o.qemu, "qemu", "", "QEMU binary (empty: the locked one)")
	f.StringVar(&o.secretvm, "secretvm", "bin/secretvm", "secretvm binary, for its soft-tee command")
	f.StringVar(&o.owner, "owner", "svm1dev", "owner part of the service id")
	f.StringVar(&o.chain, "chain-id", "dev-1", "KMS chain id in the config")
	f.StringVar(&o.group, "group-key", strings.Repeat("00", 96), "KMS group key in the config, hex")
	f.StringVar(&o.kms, "kms", "", "KMS URL as the guest sees it, e.g. http://10.0.2.2:26680")
	f.StringVar(&o.registry, "registry", "", "registry as the guest sees it, e.g. 10.0.2.2:5000")
	f.StringVar(&o.measure, "measurement", "", "file with the registers at launch (empty: predicted from the image and the config)")
	f.StringVar(&o.rootfs, "rootfs", "", "another rootfs image")
	f.StringVar(&o.commandLine, "command-line", "", "another kernel command line")
	f.DurationVar(&o.timeout, "timeout", 5*time.Minute, "kill the machine after this time")
	f.DurationVar(&o.powerOff, "power-off-after", 0, "press the power button after this time")
	f.Func("port", "forward HOST=GUEST (repeatable)", func(s string) error {
		host, guest, _ := strings.Cut(s, "=")
		h, err1 := strconv.Atoi(host)
		g, err2 := strconv.Atoi(guest)
		if err1 != nil || err2 != nil {
			return fmt.Errorf("%q, want HOST=GUEST", s)
		}
		o.ports = append(o.ports, qemu.Forward{Host: h, Guest: g})
		return nil
	})
	return o, f.Parse(args)
}

func run(ctx context.Context, args []string) error {
	o, err := parse(args)
	if err != nil {
		return err
	}
	if o.state == "" {
		if o.state, err = os.MkdirTemp("", "secretvm-boot-"); err != nil {
			return err
		}
		defer os.RemoveAll(o.state)
	}
	folder, err := machine.Open(o.state, 4<<30)
	if err != nil {
		return err
	}
	boot, err := o.boot(ctx, folder)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, o.timeout)
	defer cancel()
	running, err := folder.Start(ctx, boot)
	if err != nil {
		return err
	}
	defer running.Close()
	if o.powerOff > 0 {
		time.AfterFunc(o.powerOff, func() {
			if err := running.PowerOff(ctx); err != nil {
				fmt.Fprintln(os.Stderr, "boot:", err)
			}
		})
	}
	reader := running.Console().Follow()
	for {
		line, more := reader.Next(ctx.Done())
		if !more {
			break
		}
		fmt.Printf("[%6.2f] %s\n", time.Since(running.Started()).Seconds(), line)
	}
	return running.Wait(ctx)
}

func (o options) boot(ctx context.Context, folder *machine.Folder) (machine.Boot, error) {
	b := machine.Boot{
		Name: "boot", TEE: vm.Soft, Shape: vm.DefaultShape, Image: o.image, Forwards: o.ports,
		Rootfs: o.rootfs, CommandLine: o.commandLine,
	}
	var err error
	if o.qemu != "" {
		b.QEMU, err = qemu.System(ctx, o.qemu)
	} else {
		b.QEMU, err = local.Locked{}.QEMU(ctx, func(string, ...any) {})
	}
	if err != nil {
		return b, err
	}
	if o.secretvm, err = filepath.Abs(o.secretvm); err != nil {
		return b, err
	}
	b.SoftTEE = []string{o.secretvm, "soft-tee", "--pki", filepath.Join(folder.Dir(), "pki")}
	if o.compose != "" {
		if err := o.archive(folder, &b); err != nil {
			return b, err
		}
	}
	if o.measure != "" {
		text, err := os.ReadFile(o.measure)
		if err != nil {
			return b, err
		}
		if err := json.Unmarshal(text, &b.Measurement); err != nil {
			return b, fmt.Errorf("%s: %w", o.measure, err)
		}
	}
	return b, nil
}

func (o options) archive(folder *machine.Folder, b *machine.Boot) error {
	w, err := compose.Read(o.compose)
	if err != nil {
		return err
	}
	name := w.Settings.Service
	if name == "" {
		name = "boot"
	}
	cfg, err := w.Config(o.owner+"/"+name, vm.KMS{ChainID: o.chain, GroupKey: o.group}, folder.Instance())
	if err != nil {
		return err
	}
	image, err := local.OpenImage(o.image, b.Shape)
	if err != nil {
		return err
	}
	cfg.Dev = image.Manifest.Dev
	hints := configdisk.Hints{Registry: o.registry}
	if o.kms != "" {
		hints.KMS = []string{o.kms}
	}
	if b.Archive, err = local.Archive(w, cfg, hints); err != nil {
		return err
	}
	b.Measurement, err = image.Launched(cfg)
	return err
}
