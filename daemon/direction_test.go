package daemon_test

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"path"
	"slices"
	"strings"
	"testing"
)

// mayImport is the table of the design: who may import whom. Below hsm, records
// and station may import secret alone; test files may import fixtures.
var mayImport = map[string][]string{
	"records":  {"hsm/secret"},
	"hsm":      {},
	"station":  {"records", "hsm/secret"},
	"daemon":   {"records", "hsm", "station"},
	"fixtures": {"records", "hsm", "station"},
}

// folderOf is the one folder that may import a third-party module. What is for
// tests, and golang.org/x/{sys,sync}, may be imported anywhere.
var folderOf = map[string]string{
	"github.com/dgraph-io/badger/v4":  "records",
	"github.com/fxamacker/cbor/v2":    "records",
	"go.bug.st/serial":                "station/port",
	"github.com/pelletier/go-toml/v2": "daemon/profile",
	"github.com/alecthomas/kong":      "daemon/cmd/mintmark",
	"golang.org/x/term":               "daemon/cmd/mintmark",
	"github.com/go-crypt/x":           "hsm",
	"golang.org/x/crypto":             "hsm",
	"github.com/mattn/go-sqlite3":     "fixtures/rivals",
	"github.com/jackc/pgx/v5":         "fixtures/rivals",
	"golang.org/x/sys":                "",
	"golang.org/x/sync":               "",
	"github.com/google/go-cmp":        "test",
	"pgregory.net/rapid":              "test",
	"github.com/rogpeppe/go-internal": "test",
}

type goPackage struct {
	ImportPath                         string
	Imports, TestImports, XTestImports []string
}

// packages asks the go command for all packages of this module.
func packages(t *testing.T) []goPackage {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-json=ImportPath,Imports,TestImports,XTestImports", "mintmark/...")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var all []goPackage
	for d := json.NewDecoder(out); ; {
		var p goPackage
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	return all
}

func TestPackagesImportOnlyWhatTheTableAllows(t *testing.T) {
	all := packages(t)
	if len(all) < 10 {
		t.Fatalf("go list names %d packages, want all", len(all))
	}
	for _, p := range all {
		name := strings.TrimPrefix(p.ImportPath, "mintmark/")
		for _, i := range p.Imports {
			if why := forbidden(name, i); why != "" {
				t.Errorf("%s imports %s: %s", name, i, why)
			}
		}
		for _, i := range slices.Concat(p.TestImports, p.XTestImports) {
			if sub, own := strings.CutPrefix(i, "mintmark/"); own && top(sub) == "fixtures" {
				continue
			}
			if why := forbiddenInTest(name, i); why != "" {
				t.Errorf("a test of %s imports %s: %s", name, i, why)
			}
		}
	}
}

func top(name string) string {
	first, _, _ := strings.Cut(name, "/")
	return first
}

// forbidden says why package name may not import i, or nothing.
func forbidden(name, i string) string {
	sub, own := strings.CutPrefix(i, "mintmark/")
	if !own {
		return foreign(name, i, false)
	}
	if top(sub) == top(name) {
		return ""
	}
	if name == "daemon/cmd/mintmark" && top(sub) == "fixtures" {
		return "" // demo
	}
	for _, allowed := range mayImport[top(name)] {
		if sub == allowed || strings.HasPrefix(sub, allowed+"/") {
			return ""
		}
	}
	return "the table of design.md section 5 has no such arrow"
}

// forbiddenInTest is wider: a test may start real parts of anything below it.
func forbiddenInTest(name, i string) string {
	sub, own := strings.CutPrefix(i, "mintmark/")
	if !own {
		return foreign(name, i, true)
	}
	if top(sub) == "hsm" && top(name) != "hsm" {
		return "" // the software authority is every test's
	}
	return forbidden(name, i)
}

func foreign(name, i string, test bool) string {
	if !strings.Contains(top(i), ".") {
		return "" // standard library
	}
	module := i
	for module != "." && !known(module) {
		module = path.Dir(module)
	}
	switch folder := folderOf[module]; {
	case module == ".":
		return "nobody has said which folder this module belongs to"
	case folder == "", name == folder, test:
		return ""
	case folder == "test":
		return "it is for tests"
	case top(name) == "fixtures":
		return "fixtures share no code with what they test"
	default:
		return "only " + folder + " may"
	}
}

func known(module string) bool { _, ok := folderOf[module]; return ok }
