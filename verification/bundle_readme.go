package verification

import (
	"encoding/hex"
	"fmt"
	"strings"
	"time"
)

// hexBytes is lower-case hex in JSON.
type hexBytes []byte

// MarshalText writes hex.
func (h hexBytes) MarshalText() ([]byte, error) { return []byte(hex.EncodeToString(h)), nil }

// UnmarshalText reads hex.
func (h *hexBytes) UnmarshalText(b []byte) error {
	decoded, err := hex.DecodeString(string(b))
	*h = decoded
	return err
}

// bundleReadme tells whoever finds the bundle what it is and how to repeat the
// verdict. It is for people; nothing reads it back.
func bundleReadme(a Answer, want Wanted, r Report) string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("This is every input of one verification, so that anyone can repeat its verdict,")
	line("offline and at any time:")
	line("")
	line("    secretvm verify THIS.zip")
	line("")
	line("Verdict then: %s: %s", r.Verdict, printable(r.Summary))
	line("Judged at:    %s", want.Time.UTC().Format(time.RFC3339))
	line("Machine:      %s", or(printable(a.URL), "evidence from a file, no connection"))
	line("")
	line("The verdict is repeated for the moment above. --at TIME judges at another, for")
	line("example --at now: collateral and certificates may have expired since.")
	line("")
	line("What the machine should be is in docker-compose.yaml, files.tar, manifest.json and")
	line("wanted.json, as far as it was given. Whoever made this bundle chose those files. To")
	line("compare the machine with yours, name them: --compose FILE --manifest FILE, --policy FILE.")
	line("That the evidence came over the TLS connection and answered the nonce in answer.json")
	line("is the word of whoever made this bundle; ask the machine yourself to be sure.")
	if len(want.Roots) > 0 {
		line("")
		line("The verdict rested on root certificates beside the vendors' (roots.pem). They are not")
		line("accepted because they lie here. If you trust them: --trust-root roots.pem (unzip it).")
		for _, c := range want.Roots {
			line("  %s", printable(c.Subject.String()))
		}
	}
	line("")
	line("answer.json          what the machine said, and the connection over which it said so")
	line("config.json          the configuration that it served")
	line("wanted.json          policy, service and other wishes, and the time of the verdict")
	line("docker-compose.yaml, files.tar, manifest.json   the caller's")
	line("report.json          the verdict of then; it is made again, never believed")
	return b.String()
}
