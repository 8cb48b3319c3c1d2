package main

import (
	"strings"
	"testing"
)

// TestExecNeedsADevImage: what takes no commands is told apart from wrong usage.
func TestExecNeedsADevImage(t *testing.T) {
	for name, tt := range map[string]struct {
		args []string
		code int
		want string
	}{
		"no machine":       {[]string{"--", "ls"}, exitUsage, "want a machine"},
		"too many":         {[]string{"a", "b", "c"}, exitUsage, "want a machine"},
		"no such machine":  {[]string{"guestbook", "web", "--", "env"}, exitRefused, "others take no commands"},
		"the machine":      {[]string{"guestbook"}, exitRefused, "secretvm image build --dev"},
		"path as its name": {[]string{"../../etc", "web"}, exitRefused, "others take no commands"},
	} {
		var out, errs strings.Builder
		code := run(t.Context(), append([]string{"exec", "--state", t.TempDir()}, tt.args...), strings.NewReader(""), &out, &errs)
		if code != tt.code || !strings.Contains(errs.String(), tt.want) {
			t.Errorf("%s: exit code %d, %q", name, code, errs.String())
		}
	}
}
