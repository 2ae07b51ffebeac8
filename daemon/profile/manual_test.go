package profile_test

import (
	"bytes"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the manuals anew")

// TestManualsSayWhatTheCodeDoes holds docs/profiles.md and docs/config.md to the
// field comments, which are the manual. With -update it writes them.
func TestManualsSayWhatTheCodeDoes(t *testing.T) {
	for _, m := range []struct{ file, source, root, intro, example string }{
		{"profiles.md", "profile.go", "Profile", profilesIntro, "../template/camera.toml"},
		{"config.md", "../config.go", "Config", configIntro, "../template/station.toml"},
	} {
		path := filepath.Join("..", "..", "docs", m.file)
		want := manual(t, m.source, m.root, m.intro, m.example)
		if *update {
			if err := os.WriteFile(path, want, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		got, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("docs/%s is not what %s says: run go test ./daemon/profile -run Manuals -update", m.file, m.source)
		}
	}
}

const profilesIntro = `# Profiles

A profile says what a product is. It is a TOML file in the profiles folder of the
station, named after the product's id. ` + "`mintmark profile check FILE`" + ` reports all
mistakes at once, each as ` + "`file:line:col: key: what was wanted`" + `, and what is weak but
allowed as a warning. An unknown key is a mistake. A batch pins the SHA-256 of the
file: a profile that was edited is another one.

This page is written from the comments in ` + "`daemon/profile/profile.go`" + ` by a test.
`

const configIntro = `# station.toml

The configuration of a station. ` + "`mintmark init DIR`" + ` writes one; ` + "`mintmark doctor`" + `
says what is missing or wrong. All mistakes are reported at once, each as
` + "`file:line:col: key: what was wanted`" + `. An unknown key is a mistake. Relative paths start
at the folder of the file.

This page is written from the comments in ` + "`daemon/config.go`" + ` by a test.
`

// manual writes the page of the struct named root and of those below it.
func manual(t *testing.T, source, root, intro, example string) []byte {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), source, nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	structs := map[string]*ast.StructType{}
	comments := map[string]string{}
	for _, d := range file.Decls {
		g, ok := d.(*ast.GenDecl)
		if !ok {
			continue
		}
		for _, s := range g.Specs {
			if ts, ok := s.(*ast.TypeSpec); ok {
				if st, ok := ts.Type.(*ast.StructType); ok {
					structs[ts.Name.Name], comments[ts.Name.Name] = st, g.Doc.Text()
				}
			}
		}
	}
	var b bytes.Buffer
	text, err := os.ReadFile(example)
	if err != nil {
		t.Fatal(err)
	}
	text = bytes.ReplaceAll(text, []byte("{{support_end}}"), []byte("2032-12-31"))
	fmt.Fprintf(&b, "%s\n## Example\n\nAs `mintmark init` writes it:\n\n```toml\n%s```\n", intro, text)
	section(t, &b, structs, comments, root, "", "## All keys")
	return b.Bytes()
}

// section writes a table of the keys of one struct, then those of its tables.
func section(t *testing.T, b *bytes.Buffer, structs map[string]*ast.StructType, comments map[string]string, name, prefix, title string) {
	fmt.Fprintf(b, "\n%s\n\n", title)
	if prefix != "" {
		fmt.Fprintf(b, "%s\n\n", oneLine(comments[name]))
	}
	fmt.Fprint(b, "| key | value | meaning |\n|---|---|---|\n")
	var below []func()
	for _, f := range structs[name].Fields.List {
		key := ""
		if f.Tag != nil {
			key = reflect.StructTag(strings.Trim(f.Tag.Value, "`")).Get("toml")
		}
		if key == "" {
			continue
		}
		if f.Doc.Text() == "" {
			t.Errorf("%s.%s has no comment, which is its manual", name, key)
		}
		kind, sub, list := typeOf(f.Type)
		fmt.Fprintf(b, "| `%s` | %s | %s |\n", key, kind, oneLine(f.Doc.Text()))
		if _, ok := structs[sub]; ok && kind != "list of { user, password }" {
			header := "[" + prefix + key + "]"
			if list {
				header = "[" + header + "]"
			}
			below = append(below, func() {
				section(t, b, structs, comments, sub, prefix+key+".", "### `"+header+"`")
			})
		}
	}
	for _, f := range below {
		f()
	}
}

// typeOf names the type of a field, and the struct behind it.
func typeOf(e ast.Expr) (kind, sub string, list bool) {
	switch x := e.(type) {
	case *ast.ArrayType:
		kind, sub, _ = typeOf(x.Elt)
		switch {
		case sub == "Known":
			return "list of { user, password }", sub, true
		case sub != "":
			return "tables", sub, true
		}
		return "list of " + kind, "", true
	case *ast.SelectorExpr:
		return "time", "", false // time.Duration
	case *ast.Ident:
		switch x.Name {
		case "string":
			return "text", "", false
		case "int":
			return "number", "", false
		case "float64":
			return "number", "", false
		case "bool":
			return "true or false", "", false
		case "Date":
			return "day", "", false
		}
		return "table", x.Name, false
	}
	return "?", "", false
}

func oneLine(s string) string {
	return strings.ReplaceAll(strings.Join(strings.Fields(s), " "), "|", "\\|")
}
