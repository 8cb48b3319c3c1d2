package api

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/secretvm/secretvm/vm"
)

// request makes the JSON of a method's request of a GET's path and parameters.
// A parameter is a field, or a field of a message in it: pagination.limit.
func (m method) request(r *http.Request) ([]byte, error) {
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, vm.Refuse(vm.CodeMalformed, "query: %v", err)
	}
	for _, f := range m.fields {
		values[f] = []string{r.PathValue(f)}
	}
	out := map[string]any{}
	for name, given := range values {
		if err := set(out, m.desc.Input(), name, name, given); err != nil {
			return nil, err
		}
	}
	return json.Marshal(out)
}

// set writes one parameter into the request.
func set(into map[string]any, d protoreflect.MessageDescriptor, whole, name string, given []string) error {
	first, rest, deeper := strings.Cut(name, ".")
	f := d.Fields().ByName(protoreflect.Name(first))
	if f == nil {
		return vm.Refuse(vm.CodeMalformed, "there is no parameter %.100q", whole).Try("see /openapi.json")
	}
	if deeper {
		if f.Kind() != protoreflect.MessageKind || f.IsList() || f.IsMap() {
			return vm.Refuse(vm.CodeMalformed, "there is no parameter %.100q", whole).Try("see /openapi.json")
		}
		inner, ok := into[first].(map[string]any)
		if !ok {
			inner = map[string]any{}
			into[first] = inner
		}
		return set(inner, f.Message(), whole, rest, given)
	}
	if !f.IsList() && len(given) != 1 {
		return vm.Refuse(vm.CodeMalformed, "parameter %s comes once", whole)
	}
	var values []any
	for _, g := range given {
		v, ok := scalar(f, g)
		if !ok {
			return vm.Refuse(vm.CodeMalformed, "parameter %s is no %s", whole, f.Kind())
		}
		values = append(values, v)
	}
	if f.IsList() {
		into[first] = values
	} else {
		into[first] = values[0]
	}
	return nil
}

// scalar reads a value as a field's kind says. Bytes are base64 of either
// alphabet.
func scalar(f protoreflect.FieldDescriptor, s string) (any, bool) {
	switch f.Kind() {
	case protoreflect.StringKind, protoreflect.EnumKind:
		return s, true
	case protoreflect.BoolKind:
		b, err := strconv.ParseBool(s)
		return b, err == nil
	case protoreflect.BytesKind:
		b, err := base64.StdEncoding.DecodeString(strings.NewReplacer("-", "+", "_", "/", " ", "+").Replace(s))
		return b, err == nil
	case protoreflect.Int32Kind, protoreflect.Int64Kind, protoreflect.Sint32Kind, protoreflect.Sint64Kind, protoreflect.Sfixed32Kind, protoreflect.Sfixed64Kind:
		n, err := strconv.ParseInt(s, 10, 64)
		return json.Number(strconv.FormatInt(n, 10)), err == nil
	case protoreflect.Uint32Kind, protoreflect.Uint64Kind, protoreflect.Fixed32Kind, protoreflect.Fixed64Kind:
		n, err := strconv.ParseUint(s, 10, 64)
		return json.Number(strconv.FormatUint(n, 10)), err == nil
	}
	return nil, false
}
