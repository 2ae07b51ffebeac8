package console_test

import (
	"os"
	"reflect"
	"strings"
	"testing"

	"mintmark/station/console"
)

// TestDocsHaveEveryKey holds the tables of docs/console.md to the types.
func TestDocsHaveEveryKey(t *testing.T) {
	text, err := os.ReadFile("../../docs/console.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range []any{console.Script{}, console.LoginSettings{}, console.Step{}, console.LoginStep{}} {
		for _, f := range reflect.VisibleFields(reflect.TypeOf(v)) {
			if key := "`" + f.Tag.Get("toml") + "`"; !strings.Contains(string(text), key) {
				t.Errorf("docs/console.md doesn't have %s", key)
			}
		}
	}
	for _, d := range []string{"`uboot`", "`posix`", "`python`", "`argv`", "`none`"} {
		if !strings.Contains(string(text), "| "+d) {
			t.Errorf("docs/console.md has no row for dialect %s", d)
		}
	}
}
