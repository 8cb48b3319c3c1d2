package policy

import (
	"encoding"
	"encoding/json"
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"github.com/secretvm/secretvm/vm"
)

// Schema returns the JSON schema of policy files, for editors.
func Schema() ([]byte, error) {
	s := schemaOf(reflect.TypeFor[Policy](), "")
	s["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	s["title"] = "secretvm verification policy"
	s["required"] = []string{"version"}
	b, err := json.MarshalIndent(s, "", "  ")
	return append(b, '\n'), err
}

func schemaOf(t reflect.Type, enum string) map[string]any {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch {
	case t == reflect.TypeFor[bits]():
		return map[string]any{"type": []string{"integer", "string"}}
	case t == reflect.TypeFor[duration]():
		return map[string]any{"type": "string", "pattern": "^[0-9.]+(s|m|h)"}
	case t == reflect.TypeFor[version]():
		return map[string]any{"type": []string{"string", "number"}, "pattern": "^[0-9]+\\.[0-9]+(\\.[0-9]+)?$"}
	case t == reflect.TypeFor[vm.Hash]():
		return map[string]any{"type": "string", "pattern": "^[0-9a-f]{64}$"}
	case t == reflect.TypeFor[vm.Register]():
		return map[string]any{"type": "string", "pattern": "^[0-9a-f]{96}$"}
	}
	switch t.Kind() {
	case reflect.Struct:
		return schemaOfStruct(t)
	case reflect.Slice:
		return map[string]any{"type": "array", "minItems": 1, "items": schemaOf(t.Elem(), enum)}
	case reflect.Bool:
		return map[string]any{"type": "boolean"}
	case reflect.String:
		s := map[string]any{"type": "string"}
		if enum != "" {
			s["enum"] = strings.Split(enum, ",")
		}
		return s
	}
	s := map[string]any{"type": "integer", "minimum": 0}
	if n, err := strconv.Atoi(enum); err == nil {
		s["const"] = n
	}
	return s
}

func schemaOfStruct(t reflect.Type) map[string]any {
	properties := map[string]any{}
	var required []string
	for i := range t.NumField() {
		f := t.Field(i)
		s := schemaOf(f.Type, f.Tag.Get("enum"))
		s["description"] = f.Tag.Get("doc")
		properties[f.Tag.Get("yaml")] = s
		if f.Tag.Get("required") == "true" {
			required = append(required, f.Tag.Get("yaml"))
		}
	}
	s := map[string]any{"type": "object", "additionalProperties": false, "properties": properties}
	if required != nil {
		s["required"] = required
	}
	return s
}

// Table returns every field as a Markdown table, for the documentation.
func Table() string {
	var b strings.Builder
	b.WriteString("| field | value | meaning |\n|---|---|---|\n")
	rows(&b, "", reflect.TypeFor[Policy]())
	return b.String()
}

func rows(b *strings.Builder, prefix string, t reflect.Type) {
	for i := range t.NumField() {
		f := t.Field(i)
		name := prefix + f.Tag.Get("yaml")
		fmt.Fprintf(b, "| `%s` | %s | %s |\n", name, kindOf(f), f.Tag.Get("doc"))
		inner := f.Type
		if inner.Kind() == reflect.Slice {
			inner, name = inner.Elem(), name+"[]"
		}
		if inner.Kind() == reflect.Struct && !reflect.PointerTo(inner).Implements(reflect.TypeFor[encoding.TextUnmarshaler]()) {
			rows(b, name+".", inner)
		}
	}
}

func kindOf(f reflect.StructField) string {
	t, list := f.Type, ""
	if t.Kind() == reflect.Slice {
		t, list = t.Elem(), "list of "
	}
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch {
	case t == reflect.TypeFor[bits]():
		return list + "number, 0x…"
	case t == reflect.TypeFor[duration]():
		return list + "time: 10m, 24h"
	case t == reflect.TypeFor[version]():
		return list + "version: 1.55"
	case t == reflect.TypeFor[vm.Hash]():
		return list + "64 hex digits"
	case t == reflect.TypeFor[vm.Register]():
		return list + "96 hex digits"
	case t.Kind() == reflect.Struct:
		return list + "fields"
	case f.Tag.Get("kind") != "":
		return list + f.Tag.Get("kind")
	case f.Tag.Get("enum") != "" && t.Kind() == reflect.String:
		return list + "`" + strings.ReplaceAll(f.Tag.Get("enum"), ",", "`, `") + "`"
	case t.Kind() == reflect.Bool:
		return "true, false"
	case t.Kind() == reflect.String:
		return list + "text"
	}
	return "number"
}
