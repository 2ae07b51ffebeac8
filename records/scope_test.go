package records

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// rescoped is p with the other scope for one credential.
func rescoped(p Product, at int) Product {
	p.Credentials = slices.Clone(p.Credentials)
	p.Credentials[at].ProductScope = !p.Credentials[at].ProductScope
	p.Profile[0]++
	return p
}

// TestAScopeThatChangesIsRefused: under the other scope the used values would
// have other indexes, and be free again.
func TestAScopeThatChangesIsRefused(t *testing.T) {
	wide := generated()
	for _, tt := range []struct {
		first, then Product
		was, wants  string
	}{
		{wide, rescoped(wide, 0), "ledger", "product"},
		{rescoped(wide, 0), wide, "product", "ledger"},
	} {
		t.Run("from "+tt.was, func(t *testing.T) {
			l := open(t, create(t))
			if _, err := l.OpenBatch(t.Context(), OpenRequest{Product: tt.first, Batch: "B1", Quota: 10}); err != nil {
				t.Fatal(err)
			}
			_, err := l.OpenBatch(t.Context(), OpenRequest{Product: tt.then, Batch: "B2", Quota: 10})
			refused(t, err, fmt.Sprintf("credential admin of product %s was unique in the %s until now, the profile wants the %s", wide.ID, tt.was, tt.wants))
			clean(t, l)
		})
	}
}

func TestAnImportKeepsToTheScopeThatWas(t *testing.T) {
	l := importer(t)
	admit(t, l, batchOf(camera(), "B1"), "serial,admin,service\nSN1,AAAAAA,BBBBBB\n")
	r := batchOf(rescoped(camera(), 1), "B2")
	for _, r.DryRun = range []bool{true, false} {
		_, err := l.Import(t.Context(), r, strings.NewReader("serial,admin,service\nSN2,AAAAAA,CCCCCC\n"))
		refused(t, err, "credential admin of product camera was unique in the ledger until now, the profile wants the product")
	}
	untouched(t, l, 2, 1)
}
