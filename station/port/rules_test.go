package port_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// Listing ports through the library opens every one of them at 9600 baud, the
// ones that a slot is talking to as well.
func TestOnlyThisFolderUsesTheLibraryAndNobodyListsPorts(t *testing.T) {
	const library = "go.bug.st/serial"
	users := 0
	root := filepath.Join("..", "..")
	if _, err := os.Stat(filepath.Join(root, "go.mod")); err != nil {
		t.Fatal(err)
	}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(path) != ".go" {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for _, call := range []string{"GetPorts" + "List", "GetDetailedPorts" + "List"} {
			if strings.Contains(string(text), call) {
				t.Errorf("%s mentions %s", path, call)
			}
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, text, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, i := range f.Imports {
			name, _ := strconv.Unquote(i.Path.Value)
			if !strings.HasPrefix(name, library) {
				continue
			}
			users++
			if filepath.Dir(path) != filepath.Join(root, "station", "port") || name != library {
				t.Errorf("%s imports %s, want only station/port to import only %s", path, name, library)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if users == 0 {
		t.Error("found no user of the library, want station/port")
	}
}
