package hsm_test

import (
	"bytes"
	"math"
	"math/big"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"mintmark/hsm"
)

var kinds = []string{hsm.LoginPassword, hsm.WifiPSK, hsm.PIN, hsm.SymmetricKey, hsm.APIKey}

func TestDefaultsMeetTheirFloors(t *testing.T) {
	for _, kind := range kinds {
		g, ok := hsm.Default(kind)
		if !ok || g.Kind != kind {
			t.Fatalf("Default(%q) = %v, %v", kind, g, ok)
		}
		if err := g.Check(); err != nil {
			t.Errorf("Check of the default %s: %v", kind, err)
		}
	}
	if g, ok := hsm.Default("private-key"); ok || g != (hsm.Generator{}) {
		t.Errorf("Default of an unknown kind = %v, %v, want none", g, ok)
	}
}

// The alphabets as R-GEN-02 writes them.
func TestAlphabetsAreThoseOfTheStandard(t *testing.T) {
	for name, want := range map[string]string{
		hsm.Strict20: "CDFHJKMPQRTVWXY23479",
		hsm.Alpha24:  "BCDFGHJKMPQRTVWXY2346789",
		hsm.Base32V:  "23456789ABCDEFGHJKLMNPQRSTUVWXYZ",
		hsm.Digits:   "0123456789",
		hsm.Hex:      "0123456789abcdef",
	} {
		if got := hsm.CharsOf(name); got != want {
			t.Errorf("%s is %s, want %s", name, got, want)
		}
	}
	if n := len(hsm.Alphabets()); n != 5 {
		t.Errorf("there are %d alphabets, want 5", n)
	}
	for i, c := range hsm.CharsOf(hsm.Strict20) {
		if strings.ContainsRune("AEIOU01LIZ5S8B6GUN", c) {
			t.Errorf("character %d of strict20 is %c, which looks like another", i, c)
		}
	}
}

// count counts exactly the values that a generator may give.
func count(g hsm.Generator) *big.Int {
	chars := hsm.CharsOf(g.Alphabet)
	power := func(base int) *big.Int {
		return new(big.Int).Exp(big.NewInt(int64(base)), big.NewInt(int64(g.Length)), nil)
	}
	n := power(len(chars))
	letters := len(strings.Trim(chars, "0123456789"))
	if (g.Kind == hsm.LoginPassword || g.Kind == hsm.WifiPSK) && letters > 0 {
		n.Sub(n, power(letters)).Sub(n, power(len(chars)-letters))
	}
	if g.Kind == hsm.PIN {
		n.Sub(n, big.NewInt(12))
	}
	return n
}

func TestBitsCountWhatCanBeDrawn(t *testing.T) {
	for _, kind := range kinds {
		for _, alphabet := range hsm.Alphabets() {
			for length := 2; length <= 64; length++ {
				g := hsm.Generator{Kind: kind, Alphabet: alphabet, Length: length}
				if kind == hsm.PIN && length < 8 {
					continue
				}
				n, _ := new(big.Float).SetInt(count(g)).Float64()
				if got, want := g.Bits(), math.Log2(n); math.Abs(got-want) > 1e-9 {
					t.Errorf("%v has %v bits, want %v", g, got, want)
				}
			}
		}
	}
	for _, g := range []hsm.Generator{
		{}, {Kind: hsm.LoginPassword, Alphabet: "strict21", Length: 15}, {Kind: hsm.LoginPassword, Alphabet: hsm.Strict20},
		{Kind: hsm.LoginPassword, Alphabet: hsm.Strict20, Length: 1}, {Kind: hsm.PIN, Alphabet: hsm.Digits, Length: 1},
		{Kind: hsm.APIKey, Alphabet: hsm.Hex, Length: -1},
	} {
		if got := g.Bits(); got != 0 {
			t.Errorf("%v has %v bits, want none", g, got)
		}
	}
}

// The lengths that R-GEN-02 gives for 48, 64, 80 and 128 bits, and the cost of
// drawing again.
func TestBitsAgreeWithTheStandard(t *testing.T) {
	for alphabet, lengths := range map[string][4]int{
		hsm.Strict20: {12, 15, 19, 30}, hsm.Alpha24: {11, 14, 18, 28},
		hsm.Base32V: {10, 13, 16, 26}, hsm.Digits: {15, 20, 25, 39},
	} {
		for i, bits := range []float64{48, 64, 80, 128} {
			g := hsm.Generator{Kind: hsm.APIKey, Alphabet: alphabet, Length: lengths[i]}
			if g.Bits() < bits {
				t.Errorf("%v has %v bits, want %v", g, g.Bits(), bits)
			}
			if g.Length--; g.Bits() >= bits {
				t.Errorf("%v has %v bits already", g, g.Bits())
			}
		}
	}
	key := hsm.Generator{Kind: hsm.APIKey, Alphabet: hsm.Strict20, Length: 15}
	password := hsm.Generator{Kind: hsm.LoginPassword, Alphabet: hsm.Strict20, Length: 15}
	if cost := key.Bits() - password.Bits(); math.Abs(cost-0.0194) > 0.0001 {
		t.Errorf("letter and digit cost %v bits, want about 0.02", cost)
	}
}

func TestFloorsSayWhatWasWanted(t *testing.T) {
	for _, tt := range []struct {
		g    hsm.Generator
		want string // the error, or "" for none
	}{
		{hsm.Generator{hsm.LoginPassword, hsm.Strict20, 15, false}, ""},
		{hsm.Generator{hsm.LoginPassword, hsm.Strict20, 14, false},
			"login-password of 14 characters of strict20 has 60.5 bits, want at least 64: 15 characters, or a recorded brute-force control (R-GEN-02)"},
		{hsm.Generator{hsm.LoginPassword, hsm.Strict20, 14, true}, ""},
		{hsm.Generator{hsm.LoginPassword, hsm.Strict20, 12, true}, ""},
		{hsm.Generator{hsm.LoginPassword, hsm.Strict20, 11, true},
			"login-password of 11 characters of strict20 has 47.5 bits, want at least 48: 12 characters (R-GEN-02)"},
		{hsm.Generator{hsm.LoginPassword, hsm.Strict20, 8, false},
			"login-password of 8 characters of strict20 has 34.4 bits, want at least 64: 15 characters (R-GEN-02)"},
		{hsm.Generator{hsm.LoginPassword, hsm.Digits, 20, false}, ""},
		{hsm.Generator{hsm.LoginPassword, hsm.Digits, 19, false},
			"login-password of 19 characters of digits has 63.1 bits, want at least 64: 20 characters, or a recorded brute-force control (R-GEN-02)"},
		{hsm.Generator{hsm.LoginPassword, hsm.Base32V, 13, false}, ""},
		{hsm.Generator{hsm.LoginPassword, hsm.Hex, 40, false},
			"login-password is made of hex, want strict20 or alpha24 or base32v or digits (R-GEN-02)"},
		{hsm.Generator{hsm.LoginPassword, hsm.Strict20, 257, false}, "login-password has 257 characters, want 1 to 256 (R-GEN-02)"},
		{hsm.Generator{hsm.LoginPassword, hsm.Strict20, 0, false}, "login-password has 0 characters, want 1 to 256 (R-GEN-02)"},
		{hsm.Generator{hsm.WifiPSK, hsm.Alpha24, 20, false}, ""},
		{hsm.Generator{hsm.WifiPSK, hsm.Digits, 20, false}, ""},
		{hsm.Generator{hsm.WifiPSK, hsm.Alpha24, 63, false}, ""},
		{hsm.Generator{hsm.WifiPSK, hsm.Alpha24, 19, false}, "wifi-psk has 19 characters, want 20 to 63 (R-GEN-02)"},
		{hsm.Generator{hsm.WifiPSK, hsm.Alpha24, 19, true}, "wifi-psk has 19 characters, want 20 to 63 (R-GEN-02)"},
		{hsm.Generator{hsm.WifiPSK, hsm.Alpha24, 64, false}, "wifi-psk has 64 characters, want 20 to 63 (R-GEN-02)"},
		{hsm.Generator{hsm.PIN, hsm.Digits, 8, false}, ""},
		{hsm.Generator{hsm.PIN, hsm.Digits, 16, false}, ""},
		{hsm.Generator{hsm.PIN, hsm.Digits, 7, false}, "pin has 7 characters, want 8 to 16 (R-GEN-02)"},
		{hsm.Generator{hsm.PIN, hsm.Digits, 17, false}, "pin has 17 characters, want 8 to 16 (R-GEN-02)"},
		{hsm.Generator{hsm.PIN, hsm.Strict20, 8, false}, "pin is made of strict20, want digits (R-GEN-02)"},
		{hsm.Generator{hsm.SymmetricKey, hsm.Hex, 32, false}, ""},
		{hsm.Generator{hsm.SymmetricKey, hsm.Hex, 30, false},
			"symmetric-key of 30 characters of hex has 120.0 bits, want at least 128: 32 characters (R-GEN-02)"},
		{hsm.Generator{hsm.SymmetricKey, hsm.Hex, 33, false}, "symmetric-key has 33 hexadecimal characters, want an even number"},
		{hsm.Generator{hsm.SymmetricKey, hsm.Base32V, 64, false}, "symmetric-key is made of base32v, want hex (R-GEN-02)"},
		{hsm.Generator{hsm.APIKey, hsm.Base32V, 26, false}, ""},
		{hsm.Generator{hsm.APIKey, hsm.Base32V, 25, true},
			"api-key of 25 characters of base32v has 125.0 bits, want at least 128: 26 characters (R-GEN-02)"},
		{hsm.Generator{"private-key", hsm.Hex, 64, false},
			`nothing can be drawn for kind "private-key", want one of login-password, wifi-psk, pin, symmetric-key, api-key`},
		{hsm.Generator{hsm.LoginPassword, "weak", 64, false},
			`alphabet "weak" is unknown, want one of strict20, alpha24, base32v, digits, hex`},
	} {
		got := ""
		if err := tt.g.Check(); err != nil {
			got = err.Error()
		}
		if got != tt.want {
			t.Errorf("Check of %v: got %q, want %q", tt.g, got, tt.want)
		}
		v, err := tt.g.Draw(t.Context(), newStream(1))
		if (err == nil) != (tt.want == "") {
			t.Errorf("Draw of %v: got error %v, want the one of Check", tt.g, err)
		}
		v.Close()
	}
}

func TestValuesOfAnotherFormAreRefused(t *testing.T) {
	login := hsm.Generator{Kind: hsm.LoginPassword, Alphabet: hsm.Strict20, Length: 15}
	pin := hsm.Generator{Kind: hsm.PIN, Alphabet: hsm.Digits, Length: 8}
	key := hsm.Generator{Kind: hsm.SymmetricKey, Alphabet: hsm.Hex, Length: 32}
	guessed := "value is one digit repeated, 1234... or its reverse, want one that is not so easily guessed"
	for _, tt := range []struct {
		g     hsm.Generator
		value string
		want  string
	}{
		{login, "CDFHJKMPQRTV234", ""},
		{login, "CDFHJKMPQRTV23", "value has 14 characters, want 15"},
		{login, "CDFHJ-KMPQR-TV234", "value has 17 characters, want 15"},
		{login, "CDFHJKMPQRTV23o", "character 15 of the value is not in alphabet strict20"},
		{login, "ADFHJKMPQRTV234", "character 1 of the value is not in alphabet strict20"},
		{login, "cDFHJKMPQRTV234", "character 1 of the value is not in alphabet strict20"},
		{login, "CDFHJKMPQRTV23\x00", "character 15 of the value is not in alphabet strict20"},
		{login, "CDFHJKMPQRTVWXY", "value has no letter or no digit, want at least one of each"},
		{login, "234792347923479", "value has no letter or no digit, want at least one of each"},
		{pin, "12345679", ""},
		{pin, "00000000", guessed},
		{pin, "99999999", guessed},
		{pin, "12345678", guessed},
		{pin, "87654321", guessed},
		{pin, "00000001", ""},
		{pin, "23456789", ""},
		{pin, "", "value has 0 characters, want 8"},
		{key, "0123456789abcdef0123456789ABCDEF", ""},
		{key, "0123456789abcdef0123456789abcdeg", "character 32 of the value is not in alphabet hex"},
		{key, "00000000000000000000000000000000", ""},
	} {
		got := ""
		if err := tt.g.CheckValue([]byte(tt.value)); err != nil {
			got = err.Error()
		}
		if got != tt.want {
			t.Errorf("%s %q: got %q, want %q", tt.g.Kind, tt.value, got, tt.want)
		}
	}
}

// For eight digits they are the ones that Matter bans.
func TestTwelveCodesOfALengthAreRefused(t *testing.T) {
	for _, length := range []int{8, 9, 10, 11, 16} {
		g := hsm.Generator{Kind: hsm.PIN, Alphabet: hsm.Digits, Length: length}
		refused := []string{
			"12345678901234567890"[:length], reverse("12345678901234567890"[:length]),
		}
		for d := range 10 {
			refused = append(refused, strings.Repeat(string(rune('0'+d)), length))
		}
		for _, code := range refused {
			if err := g.CheckValue([]byte(code)); err == nil {
				t.Errorf("%s was taken", code)
			}
		}
	}
}

func reverse(s string) string {
	b := []byte(s)
	for i := range len(b) / 2 {
		b[i], b[len(b)-1-i] = b[len(b)-1-i], b[i]
	}
	return string(b)
}

func TestEveryDrawHasTheFormOfItsGenerator(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		g := hsm.Generator{
			Kind:      rapid.SampledFrom(kinds).Draw(t, "kind"),
			Alphabet:  rapid.SampledFrom(hsm.Alphabets()).Draw(t, "alphabet"),
			Length:    rapid.IntRange(1, 80).Draw(t, "length"),
			Throttled: rapid.Bool().Draw(t, "throttled"),
		}
		r := newStream(rapid.Uint64().Draw(t, "seed"))
		v, err := g.Draw(t.Context(), r)
		if g.Check() != nil {
			if err == nil || v != nil {
				t.Fatalf("%v drew %v below its floor", g, v)
			}
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := g.CheckValue(v.Bytes()); err != nil {
			t.Errorf("%v drew what it refuses: %v", g, err)
		}
		v.Close()
	})
}

func TestTheMethodIsStatedForReports(t *testing.T) {
	for kind, want := range map[string]string{
		hsm.LoginPassword: "15 characters of strict20 (CDFHJKMPQRTVWXY23479), each by masking random bytes and rejecting what is too large, " +
			"drawn again until it has a letter and a digit: 64.81 bits",
		hsm.PIN: "8 characters of digits (0123456789), each by masking random bytes and rejecting what is too large, " +
			"drawn again if it is one digit repeated, 1234... or its reverse: 26.58 bits",
		hsm.SymmetricKey: "64 characters of hex (0123456789abcdef), each by masking random bytes and rejecting what is too large: 256.00 bits",
	} {
		g, _ := hsm.Default(kind)
		if got := g.Method(); got != want {
			t.Errorf("Method of %s: got %q, want %q", kind, got, want)
		}
	}
}

func TestErrorsHoldNoPartOfTheValue(t *testing.T) {
	g, _ := hsm.Default(hsm.LoginPassword)
	rapid.Check(t, func(t *rapid.T) {
		value := rapid.SliceOfN(rapid.ByteRange('!', '/'), 1, 30).Draw(t, "value")
		if err := g.CheckValue(value); err == nil || bytes.Contains([]byte(err.Error()), value) && len(value) > 2 {
			t.Errorf("CheckValue(%q): %v", value, err)
		}
	})
}
