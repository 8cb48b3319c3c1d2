package rim

import (
	"fmt"

	"github.com/secretvm/secretvm/vm"
)

// Bounds on a document.
const (
	maxSize       = 256 << 10
	maxDepth      = 16
	maxNodes      = 8192
	maxAttributes = 128 // of one element
	maxName       = 100
)

// name is a qualified name. Space is the namespace that the prefix stands for.
type name struct {
	prefix, local, space string
}

func (n name) String() string {
	if n.prefix == "" {
		return n.local
	}
	return n.prefix + ":" + n.local
}

// is compares expanded names: prefixes have no meaning.
func (n name) is(space, local string) bool { return n.space == space && n.local == local }

type attribute struct {
	name
	value string
}

// declaration binds a prefix ("" is the default) to a namespace ("" is none).
type declaration struct {
	prefix, space string
}

// element is a node of the tree. Content is in order: *element or string.
type element struct {
	name
	declarations []declaration
	attributes   []attribute
	content      []any
	parent       *element
}

// children returns the elements directly below e.
func (e *element) children() []*element {
	var all []*element
	for _, c := range e.content {
		if child, ok := c.(*element); ok {
			all = append(all, child)
		}
	}
	return all
}

// text returns the content of an element that holds text only.
func (e *element) text() (string, error) {
	all := ""
	for _, c := range e.content {
		s, ok := c.(string)
		if !ok {
			return "", malformed("element %s holds another element", e.name)
		}
		all += s
	}
	return all, nil
}

// attribute returns the value of an attribute by its expanded name.
func (e *element) attribute(space, local string) (string, bool) {
	for _, a := range e.attributes {
		if a.is(space, local) {
			return a.value, true
		}
	}
	return "", false
}

// resolve returns the namespace that a prefix stands for at e.
func (e *element) resolve(prefix string) (string, bool) {
	for ; e != nil; e = e.parent {
		for _, d := range e.declarations {
			if d.prefix == prefix {
				return d.space, true
			}
		}
	}
	return "", prefix == ""
}

func malformed(format string, args ...any) error {
	return vm.Refuse(vm.CodeMalformed, "reference document: %s", fmt.Sprintf(format, args...))
}
