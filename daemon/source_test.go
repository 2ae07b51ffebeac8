package daemon

import (
	"path/filepath"
	"testing"

	"mintmark/hsm"
	"mintmark/hsm/secret"
	"mintmark/hsm/soft"
)

func TestAValueHasTheSameVerifierEachTimeAndAnotherUnderAnotherKey(t *testing.T) {
	for _, scheme := range hsm.Schemes() {
		seen := map[string]string{}
		for _, tt := range []struct{ key, credential, value string }{
			{"a", "admin", "CDFHJKMPQRTVWXY"}, {"a", "root", "CDFHJKMPQRTVWXY"}, {"a", "admin", "CDFHJKMPQRTVWXX"}, {"b", "admin", "CDFHJKMPQRTVWXY"},
		} {
			keys := authorityAt(t, filepath.Join(t.TempDir(), tt.key))
			first, second := verifier(t, keys, scheme, tt.credential, tt.value), verifier(t, keys, scheme, tt.credential, tt.value)
			if first != second {
				t.Errorf("%s of %v is %s, then %s; want the same", scheme, tt, first, second)
			}
			if by, ok := seen[first[:25]]; ok { // setting and salt
				t.Errorf("%s of %v has the salt of %s", scheme, tt, by)
			}
			seen[first[:25]] = tt.key + tt.credential + tt.value
		}
	}
}

func authorityAt(t *testing.T, dir string) *soft.Authority {
	t.Helper()
	if err := soft.Create(dir); err != nil {
		t.Fatal(err)
	}
	a, err := soft.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.Close)
	return a
}

func verifier(t *testing.T, keys authority, scheme, credential, value string) string {
	t.Helper()
	v := secret.From([]byte(value))
	defer v.Close()
	out, err := hsm.Verifier(t.Context(), scheme, v, &salt{keys: keys, credential: credential, value: v})
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	return string(out.Bytes())
}
