package secret_test

import (
	"bytes"
	"encoding/base64"
	"encoding/gob"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"testing"

	"mintmark/hsm/secret"
)

const planted = "CANARY-7Qf2xW9"

// shapes are the ways in which a secret can be part of something that is printed
// or encoded. Copies are made by reflection, since go vet forbids to write them.
func shapes(t *testing.T) map[string]any {
	t.Helper()
	v := secret.From([]byte(planted))
	t.Cleanup(v.Close)
	copied := reflect.ValueOf(v).Elem().Interface()
	deep := &v
	return map[string]any{
		"pointer":          v,
		"pointer twice":    &deep,
		"copy":             copied,
		"interface":        []any{v, copied},
		"slice":            []*secret.Value{v, nil},
		"map":              map[string]*secret.Value{"password": v},
		"exported field":   struct{ Password *secret.Value }{v},
		"unexported field": struct{ password *secret.Value }{v},
		"field pointed to": &struct{ password *secret.Value }{v},
		"embedded":         struct{ *secret.Value }{v},
		"unexported copy":  unexportedCopy(v),
		"error":            fmt.Errorf("log in with %v: %w", v, errors.New("refused")),
	}
}

func unexportedCopy(v *secret.Value) any {
	s := reflect.New(reflect.TypeFor[struct{ password secret.Value }]()).Elem()
	reflect.NewAt(s.Field(0).Type(), s.Field(0).Addr().UnsafePointer()).Elem().Set(reflect.ValueOf(v).Elem())
	return s.Interface()
}

// leaks finds the planted text in the forms that fmt and encoders give to bytes.
func leaks(out string) bool {
	b := []byte(planted)
	plain := strings.ToLower(out)
	numbers := strings.Trim(fmt.Sprint(b), "[]")
	for _, form := range []string{
		planted, hex.EncodeToString(b), fmt.Sprintf("% x", b), fmt.Sprintf("%# x", b), numbers,
		strings.ReplaceAll(numbers, " ", ","), strings.Trim(fmt.Sprintf("%#v", b)[6:], "{}"),
		fmt.Sprintf("%o", b), fmt.Sprintf("%b", b), fmt.Sprintf("%U", b),
		base64.StdEncoding.EncodeToString(b), base64.RawURLEncoding.EncodeToString(b),
	} {
		if strings.Contains(plain, strings.ToLower(strings.Trim(form, "[]"))) {
			return true
		}
	}
	return false
}

func TestNoVerbShowsASecret(t *testing.T) {
	if !leaks(fmt.Sprintf("%x", []byte(planted))) || !leaks(fmt.Sprint([]byte(planted))) || !leaks(fmt.Sprintf("%#v", []byte(planted))) {
		t.Fatal("the check is blind")
	}
	for name, x := range shapes(t) {
		for verb := rune('A'); verb <= 'z'; verb++ {
			for _, flags := range []string{"", "+", "#", " ", "0", "-", "20", ".3", "# ", "+#", "-30.10"} {
				format := "%" + flags + string(verb)
				if out := fmt.Sprintf(format, x); leaks(out) {
					t.Errorf("%s of %s shows the secret: %s", format, name, out)
				}
			}
		}
	}
}

func TestASecretSaysThatItIsOne(t *testing.T) {
	x := shapes(t)
	for _, format := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%p", "%T"} {
		want := "[secret]"
		if format == "%T" {
			want = "*secret.Value"
		}
		if format == "%p" {
			continue // fmt prints the address without asking
		}
		if got := fmt.Sprintf(format, x["pointer"]); got != want {
			t.Errorf("%s: got %s, want %s", format, got, want)
		}
	}
	for _, format := range []string{"%v", "%#v", "%x", "%d"} {
		if got := fmt.Sprintf(format, x["copy"]); got != "[secret]" {
			t.Errorf("%s of a copy: got %s, want [secret]", format, got)
		}
	}
	v := x["pointer"].(*secret.Value)
	if v.String() != "[secret]" || v.GoString() != "[secret]" {
		t.Errorf("String() = %s and GoString() = %s, want [secret]", v.String(), v.GoString())
	}
}

func TestNoLogHandlerShowsASecret(t *testing.T) {
	var out bytes.Buffer
	for handler, h := range map[string]slog.Handler{
		"text": slog.NewTextHandler(&out, nil),
		"json": slog.NewJSONHandler(&out, nil),
	} {
		for name, x := range shapes(t) {
			out.Reset()
			log := slog.New(h)
			log.With("bound", x).WithGroup("g").Info("logged in", "value", x, slog.Group("in", "value", x))
			if out.Len() == 0 || leaks(out.String()) {
				t.Errorf("%s handler with %s wrote %s", handler, name, out.String())
			}
		}
		out.Reset()
		slog.New(h).Info("logged in", "password", shapes(t)["pointer"])
		if !strings.Contains(out.String(), "[secret]") {
			t.Errorf("%s handler wrote %s, want [secret]", handler, out.String())
		}
	}
}

// A handler of one's own may look at the value before it formats anything.
func TestALogHandlerNeverGetsTheSecretItself(t *testing.T) {
	v := shapes(t)["pointer"]
	if got := slog.AnyValue(v).Resolve(); got.Kind() != slog.KindString || got.String() != "[secret]" {
		t.Errorf("a handler gets %v of kind %v, want the string [secret]", got, got.Kind())
	}
}

func TestTextEncodersGetAPlaceholder(t *testing.T) {
	for name, x := range shapes(t) {
		out, err := json.Marshal(x)
		if leaks(string(out)) || err != nil && leaks(err.Error()) {
			t.Errorf("JSON of %s is %s", name, out)
		}
	}
	type account struct{ Password *secret.Value }
	v := shapes(t)["pointer"].(*secret.Value)
	for want, x := range map[string]any{
		`"[secret]"`:              v,
		`{"Password":"[secret]"}`: account{v},
		`{"Password":null}`:       account{},
		`{"[secret]":1}`:          map[*secret.Value]int{v: 1},
	} {
		if out, err := json.Marshal(x); string(out) != want || err != nil {
			t.Errorf("JSON is %s, %v, want %s", out, err, want)
		}
	}
	if out, err := xml.Marshal(account{v}); !strings.Contains(string(out), "<Password>[secret]</Password>") || err != nil {
		t.Errorf("XML is %s, %v, want [secret]", out, err)
	}
	if out, err := v.MarshalJSON(); string(out) != `"[secret]"` || err != nil {
		t.Errorf("MarshalJSON = %s, %v, want [secret] in quotes", out, err)
	}
	if out, err := v.MarshalText(); string(out) != "[secret]" || err != nil {
		t.Errorf("MarshalText = %s, %v, want [secret]", out, err)
	}
}

func TestBinaryEncodersAreRefused(t *testing.T) {
	v := shapes(t)["pointer"].(*secret.Value)
	if out, err := v.MarshalBinary(); !errors.Is(err, secret.ErrEncode) || out != nil {
		t.Errorf("MarshalBinary = %x, %v, want ErrEncode", out, err)
	}
	var b bytes.Buffer
	if err := gob.NewEncoder(&b).Encode(struct{ Password *secret.Value }{v}); !errors.Is(err, secret.ErrEncode) {
		t.Errorf("gob wrote it with error %v, want ErrEncode", err)
	}
	if leaks(b.String()) || bytes.Contains(b.Bytes(), []byte(planted)) {
		t.Errorf("gob wrote %x", b.Bytes())
	}
}
