package archive

import (
	"cmp"
	"strconv"
	"strings"
)

// CompareVersions orders two package versions as dpkg does (deb-version(7)):
// epoch, upstream version, revision. It returns -1, 0 or 1.
func CompareVersions(a, b string) int {
	ea, ua, ra := splitVersion(a)
	eb, ub, rb := splitVersion(b)
	switch {
	case ea < eb:
		return -1
	case ea > eb:
		return 1
	}
	if c := comparePart(ua, ub); c != 0 {
		return c
	}
	return comparePart(ra, rb)
}

func splitVersion(v string) (epoch int, upstream, revision string) {
	if e, rest, ok := strings.Cut(v, ":"); ok {
		epoch, _ = strconv.Atoi(e) // not a number: as if it were 0, and never in an archive
		v = rest
	}
	if i := strings.LastIndexByte(v, '-'); i >= 0 {
		return epoch, v[:i], v[i+1:]
	}
	return epoch, v, ""
}

// comparePart compares alternating runs of non-digits and digits.
func comparePart(a, b string) int {
	for a != "" || b != "" {
		i, j := nonDigits(a), nonDigits(b)
		for k := 0; k < max(i, j); k++ {
			if oa, ob := order(a[:i], k), order(b[:j], k); oa != ob {
				return cmp.Compare(oa, ob)
			}
		}
		a, b = a[i:], b[j:]
		i, j = digits(a), digits(b)
		na, nb := strings.TrimLeft(a[:i], "0"), strings.TrimLeft(b[:j], "0")
		if len(na) != len(nb) {
			return cmp.Compare(len(na), len(nb))
		}
		if c := strings.Compare(na, nb); c != 0 {
			return c
		}
		a, b = a[i:], b[j:]
	}
	return 0
}

// order is the weight of a character: tilde before the end, the end before
// letters, letters before everything else.
func order(s string, i int) int {
	switch {
	case i >= len(s):
		return 0
	case s[i] == '~':
		return -1
	case s[i] >= 'A' && s[i] <= 'Z' || s[i] >= 'a' && s[i] <= 'z':
		return int(s[i])
	}
	return int(s[i]) + 256
}

func nonDigits(s string) int {
	i := strings.IndexFunc(s, func(r rune) bool { return r >= '0' && r <= '9' })
	if i < 0 {
		return len(s)
	}
	return i
}

func digits(s string) int {
	return len(s) - len(strings.TrimLeft(s, "0123456789"))
}
