package snp

import (
	"fmt"
	"strings"

	"github.com/secretvm/secretvm/vm"
)

// Product is a kind of chip: microcode versions are compared within one only.
type Product string

// The products. Reports of version 2 do not tell those of one line apart; they
// count as the first one.
const (
	ProductMilan   Product = "Milan"
	ProductMilanX  Product = "Milan-X"
	ProductGenoa   Product = "Genoa"
	ProductGenoaX  Product = "Genoa-X"
	ProductBergamo Product = "Bergamo/Siena"
	ProductTurin   Product = "Turin"
)

// Line returns the line of a product, or nothing if there is no such product.
func (p Product) Line() Line {
	switch p {
	case ProductMilan, ProductMilanX:
		return Milan
	case ProductGenoa, ProductGenoaX, ProductBergamo:
		return Genoa
	case ProductTurin:
		return Turin
	}
	return ""
}

// Product returns the kind of chip that CPUID describes (revision guides
// 56683, 57095 and 58251).
func (c CPU) Product() (Product, error) {
	extended, stepping := c.Model>>4, c.Stepping
	switch {
	case c.Family == 0x19 && extended == 0x0 && stepping >= 2:
		return ProductMilanX, nil
	case c.Family == 0x19 && extended == 0x0:
		return ProductMilan, nil
	case c.Family == 0x19 && extended == 0x1 && stepping >= 2:
		return ProductGenoaX, nil
	case c.Family == 0x19 && extended == 0x1:
		return ProductGenoa, nil
	case c.Family == 0x19 && extended == 0xa:
		return ProductBergamo, nil
	case c.Family == 0x1a && extended <= 0x1:
		return ProductTurin, nil
	}
	return "", vm.Refuse(vm.CodeMalformed, "the report comes from a processor that is not known").
		On("CPUID", fmt.Sprintf("family %#x, model %#x, stepping %d", c.Family, c.Model, c.Stepping), "Milan, Genoa, Bergamo, Siena or Turin")
}

// lineOf returns the product line of a name in a certificate, such as
// "Milan-B0" or "Turin".
func lineOf(name string) (Line, bool) {
	name, _, _ = strings.Cut(name, "-")
	switch l := Line(name); l {
	case Milan, Genoa, Turin:
		return l, true
	}
	return "", false
}
