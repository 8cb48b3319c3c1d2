package ovmf

import "fmt"

const fourGiB = 4 << 30

// check refuses metadata that a VMM would refuse or, worse, take in another
// sense than the predictor.
func (i *Image) check() error {
	count := map[SectionType]int{}
	for n, s := range i.Sections {
		if err := i.checkSection(s); err != nil {
			return fmt.Errorf("section %d (%s): %w", n, s.Type, err)
		}
		for m, other := range i.Sections[:n] {
			if s.Address < other.Address+other.Size && other.Address < s.Address+s.Size {
				return fmt.Errorf("section %d (%s) overlaps section %d (%s)", n, s.Type, m, other.Type)
			}
		}
		count[s.Type]++
	}
	for _, t := range []SectionType{BFV, CFV, TDHOB} {
		if count[t] != 1 {
			return fmt.Errorf("it has %d %s sections, want 1", count[t], t)
		}
	}
	return nil
}

func (i *Image) checkSection(s Section) error {
	switch {
	case s.Type > TempMem:
		return fmt.Errorf("the type is not supported")
	case s.Attributes&^(MRExtend|PageAug) != 0:
		return fmt.Errorf("attributes are %#x, of which only bits 0 and 1 are known", s.Attributes)
	case s.Size == 0:
		return fmt.Errorf("its memory is empty")
	case s.Address%pageSize != 0 || s.Size%pageSize != 0:
		return fmt.Errorf("memory %#x+%#x is not whole pages", s.Address, s.Size)
	case s.Address >= fourGiB || s.Size > fourGiB-s.Address:
		return fmt.Errorf("memory %#x+%#x is not below 4 GiB", s.Address, s.Size)
	case uint64(s.DataOffset)+uint64(s.RawSize) > uint64(len(i.raw)):
		return fmt.Errorf("contents %#x+%#x overrun the image of %#x bytes (is this a CODE image without its variables?)", s.DataOffset, s.RawSize, len(i.raw))
	}
	switch s.Type {
	case BFV, CFV:
		switch {
		case uint64(s.RawSize) != s.Size:
			return fmt.Errorf("contents have %#x bytes, want %#x as its memory", s.RawSize, s.Size)
		case s.Address != fourGiB-uint64(len(i.raw))+uint64(s.DataOffset):
			return fmt.Errorf("address is %#x, want %#x where the image is mapped", s.Address, fourGiB-uint64(len(i.raw))+uint64(s.DataOffset))
		case s.Type == BFV && s.Attributes != MRExtend:
			return fmt.Errorf("attributes are %#x, want %#x: the code must be measured", s.Attributes, MRExtend)
		case s.Type == CFV && s.Attributes != 0:
			return fmt.Errorf("attributes are %#x, want 0", s.Attributes)
		}
	default:
		switch {
		case s.RawSize != 0:
			return fmt.Errorf("contents have %#x bytes, want none", s.RawSize)
		case s.Attributes != 0:
			return fmt.Errorf("attributes are %#x, want 0", s.Attributes)
		}
	}
	return nil
}
