package label_test

import (
	"strings"
	"testing"

	"mintmark/hsm/secret"
	"mintmark/station/label"

	"pgregory.net/rapid"
)

var names = []string{"admin", "wifi"}

func parse(t testing.TB, zpl string) *label.Template {
	t.Helper()
	l, err := label.Parse(zpl, names)
	if err != nil {
		t.Fatalf("Parse(%q) = %v", zpl, err)
	}
	return l
}

// secrets makes values that are closed at the end of the test.
func secrets(t interface{ Cleanup(func()) }, admin, wifi string) map[string]*secret.Value {
	m := map[string]*secret.Value{"admin": secret.From([]byte(admin)), "wifi": secret.From([]byte(wifi))}
	t.Cleanup(func() { m["admin"].Close(); m["wifi"].Close() })
	return m
}

var plain = map[string]string{"serial": "AC_000001", "product": "camera", "label": "L-7"}

// render returns the filled label as text: in a test it may.
func render(t *rapid.T, l *label.Template, values map[string]*secret.Value) string {
	v, err := l.Render(plain, values)
	if err != nil {
		t.Fatalf("Render = %v", err)
	}
	defer v.Close()
	return string(v.Bytes())
}

func TestParseReportsAllMistakesAtOnce(t *testing.T) {
	const zpl = `^XA
^CI27^PQ2
^FO10,{serial}^FD{serial}^FS
^FD{root}^FS
^FD{admin:5}^FS
^FD{admin^FS
^BXN,4^FD{admin}^FS
^BCN,80,Y,N,N,A^FD{admin}^FS
^BQN,2,4^FD{admin}^FS
^FH\^FD{admin}^FS
^DFR:FORM.ZPL^FS^FN1^MCN
~JR
^XZ`
	const want = `line 2: ^CI is "27", want 28
line 2: ^PQ prints "2" labels, want 1
line 3: ^FO has a brace, want fields only in ^FD
line 4: {root} is no field of this product, want one of serial, product, label, admin, wifi
line 5: {admin:5} has a group of "5", want a form like 5-5-5
line 6: {admin is not closed
line 7: ^BX is a code whose escapes are not known here, want text, ^BC or ^BQ
line 8: ^BC has mode "A", want N
line 9: ^BQ has no mode before its data, want ^FDQA,
line 10: ^FH has a sign of its own, want ^FH_
line 11: ^DF leaves the label in the printer
line 11: ^FN is filled by the printer, want a field in braces
line 11: ^MC leaves the label on the next one
line 12: ~JR acts on the printer, not on the label`
	_, err := label.Parse(zpl, names)
	if err == nil || err.Error() != want {
		t.Errorf("Parse = %v\nwant %s", err, want)
	}
}

func TestParseWantsOneFormat(t *testing.T) {
	for _, zpl := range []string{"", "hello", "^XA^FDx^FS", "^FDx^FS^XZ", "^XA^XZ^XA^XZ"} {
		if _, err := label.Parse(zpl, names); err == nil || !strings.Contains(err.Error(), "want") {
			t.Errorf("Parse(%q) = %v, want a refusal that says what was wanted", zpl, err)
		}
	}
}

func TestCredentialsAreThoseOnTheLabel(t *testing.T) {
	l := parse(t, "^XA^FD{serial} {wifi}^FS^FD{wifi}^FS^XZ")
	if got := strings.Join(l.Credentials(), " "); got != "wifi" {
		t.Errorf("Credentials = %q, want wifi once", got)
	}
}

func TestRenderGroupsAndAddsWhatTheTemplateLeftOut(t *testing.T) {
	l := parse(t, " ^XA\n^FO1,2^FD{admin:5-5-5}^FS^FDa_b {{x} {serial}^FS^FDa_b^FS^XZ\n")
	v, err := l.Render(plain, secrets(t, "ABCDEFGHIJKLMNO", "w"))
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	const want = "^XA^CI28\n^FO1,2^FH_^FDABCDE-FGHIJ-KLMNO^FS^FH_^FDa_5Fb {x} AC_5F000001^FS^FDa_b^FS^XZ"
	if got := string(v.Bytes()); got != want {
		t.Errorf("Render = %q\nwant %q", got, want)
	}
}

func TestRenderRefusesWhatDoesNotFit(t *testing.T) {
	l := parse(t, "^XA^FD{admin:5-5-5}^FS^XZ")
	if _, err := l.Render(plain, secrets(t, "SHORT", "w")); err == nil || err.Error() != "admin has 5 characters, the label's groups want 15" {
		t.Errorf("Render with a short value = %v", err)
	}
	if _, err := l.Render(plain, nil); err == nil || err.Error() != "label wants admin, which this device doesn't have" {
		t.Errorf("Render without a value = %v", err)
	}
}

// printable draws what an imported credential may be.
func printable(t *rapid.T, name string) string {
	return rapid.StringOfN(rapid.RuneFrom(nil, ascii), 1, 40, -1).Draw(t, name)
}

// TestNoValueBecomesACommand reads labels of hostile values with a strict reader
// of ZPL that knows nothing of the package.
func TestNoValueBecomesACommand(t *testing.T) {
	l := parse(t, `^XA^FO1,1^A0N,30,30^FDPassword: {admin}^FS^BY2^BCN,80,Y^FD{admin}^FS^BQN,2,4^FDQA,{wifi}^FS^FB300,2^FD{wifi} end^FS^XZ`)
	rapid.Check(t, func(t *rapid.T) {
		admin, wifi := printable(t, "admin"), printable(t, "wifi")
		got := fieldsOf(render(t, l, secrets(t, admin, wifi)))
		want := []string{
			"Password: " + admin, strings.ReplaceAll(admin, ">", ">0"), "QA," + wifi, strings.ReplaceAll(wifi, `\`, `\\`) + " end",
		}
		if strings.Join(got, "\n") != strings.Join(want, "\n") {
			t.Errorf("label shows %q\nwant %q", got, want)
		}
	})
}

// TestAScanOfTheLabelGivesTheValueBack reads what a scanner would type.
func TestAScanOfTheLabelGivesTheValueBack(t *testing.T) {
	for _, tt := range []struct{ name, zpl string }{
		{"bare", "^XA^BCN^FD{admin}^FS^XZ"},
		{"in text", "^XA^BQN^FDQA,{serial};{admin};{label}^FS^XZ"},
		{"two values", "^XA^BQN^FDQA,{wifi}|{admin}|^FS^XZ"},
		{"Wi-Fi code", "^XA^BQN^FDQA,WIFI:T:WPA;S:cam-{serial};P:{admin};;^FS^XZ"},
		{"grouped", "^XA^BCN^FD{admin:2-1-2}^FS^XZ"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := parse(t, tt.zpl)
			rapid.Check(t, func(t *rapid.T) {
				admin := rapid.StringOfN(rapid.RuneFrom(nil, ascii), 5, 5, -1).Draw(t, "admin")
				text := scanned(fieldsOf(render(t, l, secrets(t, admin, "W-1")))[0])
				if tt.name != "two values" && !found(t, l, text, admin) {
					t.Errorf("scan %q of %q did not give it back", text, admin)
				}
				if tt.name == "two values" && !strings.Contains(admin, "|") && !found(t, l, text, admin) {
					t.Errorf("scan %q of %q did not give it back", text, admin)
				}
			})
		})
	}
}

// found reports whether the first reading of a scan is the value.
func found(t *rapid.T, l *label.Template, text, want string) bool {
	code := secret.From([]byte(text))
	defer code.Close()
	ok := false
	for _, r := range l.Read(code, plain) {
		ok = ok || (r.Credential == "admin" && string(r.Value.Bytes()) == want)
		r.Value.Close()
	}
	return ok
}

func TestAScanOfSomethingElseGivesNothing(t *testing.T) {
	l := parse(t, "^XA^BQN^FDQA,{serial};{admin:5-5-5}^FS^XZ")
	for _, text := range []string{"", "AC_000001;SHORT", "AC_000002;ABCDE-FGHIJ-KLMNO", strings.Repeat("x", 5000)} {
		code := secret.From([]byte(text))
		if got := l.Read(code, plain); len(got) != 0 {
			t.Errorf("Read(%.40q) has %d readings, want none", text, len(got))
		}
		code.Close()
	}
}
