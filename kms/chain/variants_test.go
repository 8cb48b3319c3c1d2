package chain_test

import (
	"bytes"
	"fmt"
	"math"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// variant is a message's bytes with one field hostile.
type variant struct {
	name  string
	bytes []byte
}

// variants makes a message hostile, field by field, and the messages in it down
// to a depth. It works on bytes: most of what it makes no encoder would.
func variants(d protoreflect.MessageDescriptor, base []byte, depth int) []variant {
	var out []variant
	add := func(field, value string, raw []byte, number protowire.Number) {
		out = append(out, variant{field + " = " + value, append(without(base, number), raw...)})
	}
	for i := range d.Fields().Len() {
		f := d.Fields().Get(i)
		name, n := string(f.Name()), f.Number()
		now := occurrences(base, n)
		add(name, "absent", nil, n)
		add(name, "of another type", protowire.AppendFixed32(protowire.AppendTag(nil, n, protowire.Fixed32Type), 1), n)
		for value, raw := range values(f) {
			add(name, value, raw, n)
		}
		if len(now) == 0 {
			continue
		}
		add(name, "twice", append(bytes.Clone(now[0]), now[0]...), n)
		if f.IsList() {
			add(name, "a thousand times", bytes.Repeat(now[0], 1000), n)
			add(name, "a thousand empty ones", bytes.Repeat(protowire.AppendBytes(protowire.AppendTag(nil, n, protowire.BytesType), nil), 1000), n)
		}
		if f.Kind() == protoreflect.MessageKind && depth > 0 && !f.IsMap() {
			inner, _ := protowire.ConsumeBytes(now[0][protowire.SizeTag(n):])
			for _, v := range variants(f.Message(), inner, depth-1) {
				raw := protowire.AppendBytes(protowire.AppendTag(nil, n, protowire.BytesType), v.bytes)
				for _, rest := range now[1:] {
					raw = append(raw, rest...)
				}
				add(name+"."+strings.Split(v.name, " = ")[0], strings.Split(v.name, " = ")[1], raw, n)
			}
		}
	}
	out = append(out,
		variant{"unknown field = 1", protowire.AppendVarint(protowire.AppendTag(bytes.Clone(base), 4000, protowire.VarintType), 1)},
		variant{"unknown critical field = 1", protowire.AppendVarint(protowire.AppendTag(bytes.Clone(base), 999, protowire.VarintType), 1)},
		variant{"all = cut short", base[:len(base)*2/3]},
		variant{"all = nothing", nil},
		variant{"all = noise", bytes.Repeat([]byte{0xff}, 40)},
	)
	return out
}

// values are a field's hostile values, encoded with their tags.
func values(f protoreflect.FieldDescriptor) map[string][]byte {
	out := map[string][]byte{}
	n := f.Number()
	put := func(name string, b []byte) {
		out[name] = protowire.AppendBytes(protowire.AppendTag(nil, n, protowire.BytesType), b)
	}
	switch f.Kind() {
	case protoreflect.StringKind, protoreflect.BytesKind:
		put("no UTF-8", []byte("\xff\xfe\x80"))
		put("NUL and escapes", []byte("\x00\x1b[2J\n\r\u202e"))
		put("svm1", []byte("svm1"))
		put("a path", []byte("../../etc/passwd/"))
		put("a number", []byte("-99999999999999999999"))
		for _, size := range []int{0, 31, 32, 33, 48, 96, 1216, 400_000} {
			put(fmt.Sprintf("%d zeros", size), make([]byte, size))
		}
		for _, size := range []int{1, 47, 64, 70_000} {
			put(fmt.Sprintf("%d letters", size), bytes.Repeat([]byte("a"), size))
		}
	case protoreflect.MessageKind:
		put("empty", nil)
		put("noise", []byte{0xff, 0xff, 0xff})
		nested := []byte{}
		for range 200 { // field 1 in field 1 in field 1 …
			nested = protowire.AppendBytes(protowire.AppendTag(nil, 1, protowire.BytesType), nested)
		}
		put("deep", nested)
	default:
		for name, v := range map[string]uint64{
			"0": 0, "1": 1, "99": 99, "2^31": 1 << 31, "2^32-1": math.MaxUint32, "2^62": 1 << 62, "2^63-1": math.MaxInt64, "2^63": 1 << 63, "2^64-1": math.MaxUint64,
		} {
			out[name] = protowire.AppendVarint(protowire.AppendTag(nil, n, protowire.VarintType), v)
		}
	}
	return out
}

// occurrences are a field's encodings in a message, with their tags.
func occurrences(message []byte, number protowire.Number) (out [][]byte) {
	each(message, func(n protowire.Number, raw []byte) {
		if n == number {
			out = append(out, raw)
		}
	})
	return out
}

// without is a message without a field.
func without(message []byte, number protowire.Number) []byte {
	out := []byte{}
	each(message, func(n protowire.Number, raw []byte) {
		if n != number {
			out = append(out, raw...)
		}
	})
	return out
}

func each(message []byte, visit func(protowire.Number, []byte)) {
	for len(message) > 0 {
		number, _, size := protowire.ConsumeField(message)
		if size < 0 {
			return
		}
		visit(number, message[:size])
		message = message[size:]
	}
}
