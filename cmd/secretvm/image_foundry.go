package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/secretvm/secretvm/image"
	"github.com/secretvm/secretvm/image/archive"
	"github.com/secretvm/secretvm/image/foundry"
	"github.com/secretvm/secretvm/progress"
)

// foundryFlags are those of the commands that build firmware or kernel.
type foundryFlags struct {
	output  string
	mirrors []string
	fresh   bool
	asJSON  bool
}

func (f *foundryFlags) add(c *cobra.Command, kind string) {
	c.Flags().StringVarP(&f.output, "output", "o", "", "file to write the "+kind+" to (default: it stays in the cache)")
	c.Flags().StringArrayVar(&f.mirrors, "mirror", nil, "ARCHIVE=URL to try first; ARCHIVE is debian or debian-security")
	c.Flags().BoolVar(&f.fresh, "no-cache", false, "build even if the cache has it")
	c.Flags().BoolVar(&f.asJSON, "json", false, "print JSON")
}

// run builds the product of r, or takes the prebuilt file, and prints what it is.
func (f *foundryFlags) run(c *cobra.Command, r foundry.Recipe, prebuilt string) error {
	built, err := obtain(c, r, prebuilt, f.mirrors, f.fresh)
	if err != nil {
		return err
	}
	if f.output != "" {
		if err := os.WriteFile(f.output, built.Content, 0o644); err != nil {
			return fmt.Errorf("write %s: %w", r.Kind, err)
		}
	}
	if f.asJSON {
		return json.NewEncoder(c.OutOrStdout()).Encode(built)
	}
	fmt.Fprintf(c.OutOrStdout(), "%s  %s\n", built.SHA256, built.File)
	return nil
}

// obtain returns the product of r: the prebuilt file, or if that is "" one of those
// that the environment names, with a colon between, or else what a build yields.
func obtain(c *cobra.Command, r foundry.Recipe, prebuilt string, mirrors []string, fresh bool) (foundry.Result, error) {
	files := []string{prebuilt}
	if prebuilt == "" {
		files = filepath.SplitList(os.Getenv(r.Variable))
	}
	for i, file := range files {
		content, err := r.Prebuilt(file)
		if err == nil || i == len(files)-1 {
			return foundry.Result{File: r.File, SHA256: r.SHA256, Content: content}, err
		}
	}
	o := foundry.Options{Fresh: fresh}
	var err error
	if o.CacheDir, err = image.CacheDir(); err != nil {
		return foundry.Result{}, err
	}
	self, err := os.Executable()
	if err != nil {
		return foundry.Result{}, fmt.Errorf("find this program: %w", err)
	}
	o.Enter = []string{self, "image", "enter"}
	printer := progress.New(c.ErrOrStderr())
	o.Report, o.Note = printer, printer.Note
	if o.Pool, err = image.OpenPool(o.CacheDir, aptFolder, os.Getenv(archive.MirrorsVariable), mirrors, printer.Note); err != nil {
		return foundry.Result{}, &exitError{exitUsage, err}
	}
	return foundry.Build(c.Context(), r, o)
}

// newImageEnterCommand is what a build of firmware or kernel runs in its
// namespaces first.
func newImageEnterCommand() *cobra.Command {
	return &cobra.Command{
		Use:    "enter TOOLCHAIN ROOT SCRIPT [ARGUMENT]...",
		Short:  "Run a build in its root (started by the build commands)",
		Hidden: true,
		Args:   usageArgs(cobra.MinimumNArgs(3)),
		RunE: func(_ *cobra.Command, args []string) error {
			code, err := foundry.Enter(args[0], args[1], args[2:])
			return &exitError{code, err}
		},
	}
}
