package rim

// bind resolves the prefixes of an element and its attributes (Namespaces in
// XML 1.0), and refuses what is declared or given twice.
func (e *element) bind() error {
	declared := map[string]bool{}
	for _, d := range e.declarations {
		if d.prefix == "xml" || d.prefix == "xmlns" || declared[d.prefix] {
			return malformed("element %s declares the prefix %q twice, or one that is reserved", e.name, d.prefix)
		}
		declared[d.prefix] = true
	}
	if err := e.qualify(&e.name); err != nil {
		return err
	}
	seen := map[[2]string]bool{}
	for i := range e.attributes {
		a := &e.attributes[i]
		// An attribute without a prefix is in no namespace, whatever the default.
		if a.prefix != "" {
			if err := e.qualify(&a.name); err != nil {
				return err
			}
		}
		key := [2]string{a.space, a.local}
		if seen[key] {
			return malformed("element %s has the attribute %s twice", e.name, a.name)
		}
		seen[key] = true
	}
	return nil
}

// qualify fills in a name's namespace. xml:… attributes are refused: their
// canonical form has rules of its own, and no such document has them.
func (e *element) qualify(n *name) error {
	space, ok := e.resolve(n.prefix)
	if !ok || n.prefix == "xml" || n.prefix == "xmlns" {
		return malformed("%s has a prefix that was not declared", *n)
	}
	n.space = space
	return nil
}
