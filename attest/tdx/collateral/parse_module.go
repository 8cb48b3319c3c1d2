package collateral

func (r *text) module() (m Module) {
	for g := r.object(); r.more(&g); {
		r.moduleField(&m, string(r.name(&g)))
	}
	r.checkModule(m)
	return m
}

func (r *text) moduleField(m *Module, name string) {
	switch name {
	case "mrsigner":
		m.MRSigner = r.hex(48)
	case "attributes":
		m.Attributes = r.hex(8)
	case "attributesMask":
		m.AttributesMask = r.hex(8)
	default:
		r.skip()
	}
}

func (r *text) checkModule(m Module) {
	if m.MRSigner == nil || m.Attributes == nil || m.AttributesMask == nil {
		r.fail("a TDX module without mrsigner, attributes or attributesMask")
	}
}

func (r *text) moduleIdentities() (list []ModuleIdentity) {
	for g := r.array(); r.more(&g); {
		if len(list) == maxLevels {
			r.fail("more than %d modules", maxLevels)
			break
		}
		var m ModuleIdentity
		for g := r.object(); r.more(&g); {
			switch name := string(r.name(&g)); name {
			case "id":
				m.ID = r.string()
			case "tcbLevels":
				m.TCBLevels = readLevels(r, r.svn)
			default:
				r.moduleField(&m.Module, name)
			}
		}
		r.checkModule(m.Module)
		list = append(list, m)
	}
	return list
}

func (r *text) svn() (s SVN) {
	there := false
	for g := r.object(); r.more(&g); {
		if string(r.name(&g)) == "isvsvn" {
			s.ISVSVN, there = r.int(maxSVN), true
			continue
		}
		r.skip()
	}
	if !there {
		r.fail("a level without isvsvn")
	}
	return s
}
