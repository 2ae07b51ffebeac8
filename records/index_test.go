package records

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"mintmark/hsm/secret"
)

// vectorKeys are the keys of the golden vectors, by version.
type vectorKeys map[uint32][]byte

func (k vectorKeys) Versions() []uint32 { return []uint32{1, 2} }
func (k vectorKeys) ID() string         { return "vectors" }

func (k vectorKeys) Sum(_ context.Context, version uint32, msgs [][]byte, out [][32]byte) error {
	for i, m := range msgs {
		h := hmac.New(sha256.New, k[version])
		h.Write(m)
		h.Sum(out[i][:0])
	}
	return nil
}

// TestIndexesAreThoseOfTheGoldenVectors holds the canonical forms and messages
// to what another program made of the documentation. They may never change.
func TestIndexesAreThoseOfTheGoldenVectors(t *testing.T) {
	data, err := os.ReadFile("testdata/index-vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var golden struct {
		Keys    map[uint32]string
		Vectors []struct {
			Version                          uint32
			Class                            Class
			Scope                            string
			Value, Canonical, Message, Index string
		}
	}
	if err := json.Unmarshal(data, &golden); err != nil {
		t.Fatal(err)
	}
	if len(golden.Vectors) < 20 {
		t.Fatalf("%d vectors, want at least 20", len(golden.Vectors))
	}
	keys := vectorKeys{}
	for v, k := range golden.Keys {
		keys[v], _ = hex.DecodeString(k)
	}
	l := &Ledger{keys: keys}
	kinds := map[Class]Kind{Text: LoginPassword, Code: PIN, Bytes: SymmetricKey}
	for _, v := range golden.Vectors {
		c, err := appendCanonical(nil, v.Class, []byte(v.Value))
		if got := hex.EncodeToString(c); err != nil || got != v.Canonical {
			t.Errorf("canonical %s %q is %s, %v, want %s", v.Class, v.Value, got, err, v.Canonical)
		}
		if got := hex.EncodeToString(appendMessage(nil, v.Version, v.Class, v.Scope, c)); got != v.Message {
			t.Errorf("message of %s %q is %s, want %s", v.Class, v.Value, got, v.Message)
		}
		p := Product{ID: v.Scope, Credentials: []Spec{{Name: "x", Kind: kinds[v.Class], ProductScope: v.Scope != ""}}}
		sets, err := l.indexes(t.Context(), p, map[string]*secret.Value{"x": secret.Join([]byte(v.Value))})
		if err != nil {
			t.Fatal(err)
		}
		if i := sets["x"].Lookup[v.Version-1]; hex.EncodeToString(i[:]) != v.Index {
			t.Errorf("index of %s %q under version %d is %x, want %s", v.Class, v.Value, v.Version, i, v.Index)
		}
	}
}

func TestIndexesAreClaimedUnderTheLastVersionAndLookedUpUnderAll(t *testing.T) {
	l := &Ledger{keys: newTestKeys("a", 3, 7)}
	value := map[string]*secret.Value{"pin": secret.Join([]byte("1234-5678"))}
	spec := Spec{Name: "pin", Kind: PIN}
	wide, err := l.indexes(t.Context(), Product{ID: "p", Credentials: []Spec{spec}}, value)
	if err != nil {
		t.Fatal(err)
	}
	spec.ProductScope = true
	narrow, err := l.indexes(t.Context(), Product{ID: "p", Credentials: []Spec{spec}}, value)
	if err != nil {
		t.Fatal(err)
	}
	w, n := wide["pin"], narrow["pin"]
	if w.Version != 7 || w.Claim != w.Lookup[1] || len(w.Lookup) != 2 || w.Lookup[0] == w.Lookup[1] || w.Wide != nil {
		t.Errorf("ledger scope has %+v", w)
	}
	if n.Claim == w.Claim || len(n.Wide) != 2 || n.Wide[0] != w.Lookup[0] || n.Wide[1] != w.Lookup[1] {
		t.Errorf("product scope has %+v, want the wide indexes %x", n, w.Lookup)
	}
	if _, err := l.indexes(t.Context(), Product{ID: "p"}, value); err == nil {
		t.Error("a value of no credential was accepted")
	}
}

func TestCanonicalFormsRefuseWithoutShowingTheValue(t *testing.T) {
	for _, tt := range []struct {
		name  string
		class Class
		value string
		want  string
	}{
		{"text with an umlaut", Text, "GEHEIMß", "value has a character that is not printable ASCII"},
		{"text with a tab", Text, "GEHEIM\t", "value has a character that is not printable ASCII"},
		{"text of separators", Text, " -_.:", "value is empty but for separators"},
		{"text too long", Text, strings.Repeat("Q", 257), "value has 257 characters that count, want at most 256"},
		{"code with a letter", Code, "1234x", "value has a character that is not a digit"},
		{"code of separators", Code, "--", "value is empty but for separators"},
		{"bytes of odd length", Bytes, "abc", "value is not hexadecimal, want pairs of 0-9 and a-f"},
		{"bytes with a separator", Bytes, "ab:cd", "value is not hexadecimal, want pairs of 0-9 and a-f"},
		{"no class", "", "abc", `values of class "" can't be indexed`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := appendCanonical(nil, tt.class, []byte(tt.value)); err == nil || err.Error() != tt.want {
				t.Errorf("appendCanonical = %v, want %s", err, tt.want)
			}
		})
	}
}

func TestMessagesDifferWhereverTheirFieldsDo(t *testing.T) {
	seen := map[string]bool{}
	for _, m := range [][]byte{
		appendMessage(nil, 1, Text, "", []byte("12")),
		appendMessage(nil, 1, Text, "1", []byte("2")),
		appendMessage(nil, 1, Text, "12", nil),
		appendMessage(nil, 1, Code, "", []byte("12")),
		appendMessage(nil, 2, Text, "", []byte("12")),
	} {
		if seen[string(m)] {
			t.Errorf("message %x is there twice", m)
		}
		seen[string(m)] = true
		if len(m) > messageSize("12")+2 {
			t.Errorf("message has %d bytes, messageSize allows %d", len(m), messageSize("12")+2)
		}
	}
}

// TestTheWorkedExampleIsAGoldenVector holds the page to the vectors.
func TestTheWorkedExampleIsAGoldenVector(t *testing.T) {
	page, err := os.ReadFile("../docs/ledger-index.md")
	if err != nil {
		t.Fatal(err)
	}
	m := hex.EncodeToString(appendMessage(nil, 1, Code, "", []byte("12345678")))
	for _, want := range []string{strings.Join([]string{m[:36], m[36:52], m[52:68], m[68:76], m[76:]}, "` `"), "`4b398695e4670525b6695d97d90bc785`"} {
		if !strings.Contains(string(page), want) {
			t.Errorf("the page doesn't have %s", want)
		}
	}
}
