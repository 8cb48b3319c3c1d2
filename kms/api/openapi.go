package api

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// describe makes the OpenAPI 3 document of methods.
func describe(chainID string, methods []method) ([]byte, error) {
	schemas := schemas{}
	paths := map[string]map[string]any{
		PathLight: {"get": operation("secretvm.light.v1.Block", "light", "A header with the commit and the validators that prove it", []any{
			parameter("height", "query", map[string]any{"type": "string", "format": "int64"}),
		}, map[string]any{"type": "object", "properties": map[string]any{
			"height": map[string]any{"type": "integer"}, "block": map[string]any{"type": "string", "format": "byte", "description": "protobuf of tendermint.types.LightBlock"},
		}})},
	}
	for _, m := range methods {
		var parameters []any
		if m.verb == http.MethodGet {
			parameters = m.parameters()
		}
		op := operation(string(m.desc.FullName()), string(m.desc.Parent().FullName()), m.full, parameters, schemas.message(m.desc.Output()))
		if m.verb == http.MethodPost {
			op["requestBody"] = map[string]any{"required": true, "content": content(schemas.message(m.desc.Input()))}
		}
		if paths[m.path] == nil {
			paths[m.path] = map[string]any{}
		}
		paths[m.path][strings.ToLower(m.verb)] = op
	}
	schemas["Refusal"] = map[string]any{
		"type": "object", "required": []string{"code", "reason"},
		"properties": map[string]any{
			"code": stringSchema, "reason": stringSchema, "hint": stringSchema, "field": stringSchema, "found": stringSchema, "wanted": stringSchema,
		},
	}
	return json.Marshal(map[string]any{
		"openapi": "3.0.3",
		"info": map[string]any{
			"title": "secretvm key manager", "version": "1",
			"description": "Everything that may be read of chain " + chainID + ". Transactions are protobuf, signed, in base64. The header x-cosmos-block-height names an older block.",
		},
		"paths":      paths,
		"components": map[string]any{"schemas": schemas},
	})
}

var stringSchema = map[string]any{"type": "string"}

// operation is one method of one path.
func operation(id, tag, summary string, parameters []any, answer map[string]any) map[string]any {
	op := map[string]any{
		"operationId": id, "tags": []string{tag}, "summary": summary,
		"responses": map[string]any{
			"200":     map[string]any{"description": "the answer", "content": content(answer)},
			"default": map[string]any{"description": "a refusal", "content": content(reference("Refusal"))},
		},
	}
	if len(parameters) > 0 {
		op["parameters"] = parameters
	}
	return op
}

func content(schema map[string]any) map[string]any {
	return map[string]any{"application/json": map[string]any{"schema": schema}}
}

func reference(name string) map[string]any {
	return map[string]any{"$ref": "#/components/schemas/" + name}
}

func parameter(name, in string, schema map[string]any) map[string]any {
	p := map[string]any{"name": name, "in": in, "schema": schema}
	if in == "path" {
		p["required"] = true
	}
	return p
}

// parameters are the fields of a GET's request, those of a message in it behind
// a dot.
func (m method) parameters() []any {
	var out []any
	fields := m.desc.Input().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		name := string(f.Name())
		switch {
		case slices.Contains(m.fields, name):
			out = append(out, parameter(name, "path", scalarSchema(f)))
		case f.Kind() == protoreflect.MessageKind && !f.IsList() && !f.IsMap():
			inner := f.Message().Fields()
			for j := range inner.Len() {
				if g := inner.Get(j); g.Kind() != protoreflect.MessageKind {
					out = append(out, parameter(name+"."+string(g.Name()), "query", listOf(g, scalarSchema(g))))
				}
			}
		case f.Kind() != protoreflect.MessageKind:
			out = append(out, parameter(name, "query", listOf(f, scalarSchema(f))))
		}
	}
	return out
}

func listOf(f protoreflect.FieldDescriptor, item map[string]any) map[string]any {
	if f.IsList() {
		return map[string]any{"type": "array", "items": item}
	}
	return item
}

// schemas are the messages by their full names.
type schemas map[string]any

// message adds a message with all that it holds, and refers to it.
func (s schemas) message(d protoreflect.MessageDescriptor) map[string]any {
	name := string(d.FullName())
	switch name {
	case "google.protobuf.Any":
		return map[string]any{"type": "object", "required": []string{"@type"}, "properties": map[string]any{"@type": stringSchema}, "additionalProperties": true}
	case "google.protobuf.Timestamp":
		return map[string]any{"type": "string", "format": "date-time"}
	case "google.protobuf.Duration":
		return stringSchema
	}
	if _, ok := s[name]; !ok {
		properties := map[string]any{}
		s[name] = map[string]any{"type": "object", "properties": properties}
		for i := range d.Fields().Len() {
			f := d.Fields().Get(i)
			properties[string(f.Name())] = s.field(f)
		}
	}
	return reference(name)
}

func (s schemas) field(f protoreflect.FieldDescriptor) map[string]any {
	switch {
	case f.IsMap():
		return map[string]any{"type": "object", "additionalProperties": s.field(f.MapValue())}
	case f.Kind() == protoreflect.MessageKind:
		return listOf(f, s.message(f.Message()))
	}
	return listOf(f, scalarSchema(f))
}

// scalarSchema is a scalar as protobuf's JSON writes it: 64-bit numbers are
// strings.
func scalarSchema(f protoreflect.FieldDescriptor) map[string]any {
	switch f.Kind() {
	case protoreflect.BoolKind:
		return map[string]any{"type": "boolean"}
	case protoreflect.BytesKind:
		return map[string]any{"type": "string", "format": "byte"}
	case protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Sfixed32Kind, protoreflect.Uint32Kind, protoreflect.Fixed32Kind:
		return map[string]any{"type": "integer"}
	case protoreflect.Int64Kind, protoreflect.Sint64Kind, protoreflect.Sfixed64Kind:
		return map[string]any{"type": "string", "format": "int64"}
	case protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		return map[string]any{"type": "string", "format": "uint64"}
	case protoreflect.EnumKind:
		var names []string
		for i := range f.Enum().Values().Len() {
			names = append(names, string(f.Enum().Values().Get(i).Name()))
		}
		return map[string]any{"type": "string", "enum": names}
	}
	return stringSchema
}
