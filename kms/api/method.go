package api

import (
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"unicode"

	"github.com/cosmos/gogoproto/proto"
	"google.golang.org/genproto/googleapis/api/annotations"
	protov2 "google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
)

// method is one method of one service, as REST has it.
type method struct {
	verb   string   // GET, or POST with the request as body
	path   string   // with {field} segments
	fields []string // those of the segments, in order
	full   string   // "/service/Method", as gRPC and the router have it
	desc   protoreflect.MethodDescriptor
}

var segment = regexp.MustCompile(`\{([a-z_]+)\}`)

// methodsOf describes the methods of a service that are served.
func methodsOf(service string) ([]method, error) {
	d, err := proto.HybridResolver.FindDescriptorByName(protoreflect.FullName(service))
	if err != nil {
		return nil, err
	}
	s, ok := d.(protoreflect.ServiceDescriptor)
	if !ok {
		return nil, fmt.Errorf("not a service")
	}
	var out []method
	for i := range s.Methods().Len() {
		m := s.Methods().Get(i)
		if hidden[string(m.FullName())] || m.IsStreamingClient() || m.IsStreamingServer() {
			continue
		}
		one := method{verb: http.MethodGet, path: conventional(s, m), full: "/" + service + "/" + string(m.Name()), desc: m}
		if verb, path, ok := annotated(m); ok {
			one.verb, one.path = verb, path
		}
		for _, found := range segment.FindAllStringSubmatch(one.path, -1) {
			if m.Input().Fields().ByName(protoreflect.Name(found[1])) == nil {
				return nil, fmt.Errorf("%s: path %s names no field of the request", m.Name(), one.path)
			}
			one.fields = append(one.fields, found[1])
		}
		if strings.Count(one.path, "{") != len(one.fields) {
			return nil, fmt.Errorf("%s: path %s has a segment that is no field", m.Name(), one.path)
		}
		out = append(out, one)
	}
	return out, nil
}

// conventional is the path of a method without annotation.
func conventional(s protoreflect.ServiceDescriptor, m protoreflect.MethodDescriptor) string {
	return "/" + strings.ReplaceAll(string(s.ParentFile().Package()), ".", "/") + "/" + kebab(string(m.Name()))
}

func kebab(name string) string {
	var b strings.Builder
	for i, r := range name {
		if i > 0 && unicode.IsUpper(r) {
			b.WriteByte('-')
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}

// annotated reads google.api.http. The option's bytes are parsed again, because
// the descriptor may have been read before the option was known.
func annotated(m protoreflect.MethodDescriptor) (verb, path string, ok bool) {
	raw, err := protov2.Marshal(m.Options())
	if err != nil {
		return "", "", false
	}
	var options descriptorpb.MethodOptions
	if err := protov2.Unmarshal(raw, &options); err != nil || !protov2.HasExtension(&options, annotations.E_Http) {
		return "", "", false
	}
	rule, is := protov2.GetExtension(&options, annotations.E_Http).(*annotations.HttpRule)
	switch {
	case !is:
		return "", "", false
	case rule.GetGet() != "":
		return http.MethodGet, rule.GetGet(), true
	case rule.GetPost() != "" && rule.GetBody() == "*":
		return http.MethodPost, rule.GetPost(), true
	}
	return "", "", false
}

// pattern is the path as net/http's mux has it.
func (m method) pattern() string { return m.verb + " " + m.path }
