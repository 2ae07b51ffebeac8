package presets_test

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// TestDocsHaveEveryVar holds docs/console.md to the presets.
func TestDocsHaveEveryVar(t *testing.T) {
	doc, err := os.ReadFile("../../../docs/console.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, preset := range []string{"uboot", "linux-login", "shell"} {
		_, section, ok := strings.Cut(string(doc), "### "+preset+"\n")
		if !ok {
			t.Fatalf("docs/console.md has no section %s", preset)
		}
		section, _, _ = strings.Cut(section, "\n## ")
		text, err := os.ReadFile(preset + ".toml")
		if err != nil {
			t.Fatal(err)
		}
		_, vars, _ := strings.Cut(string(text), "[vars]\n")
		vars, _, _ = strings.Cut(vars, "[[")
		names := regexp.MustCompile(`(?m)^(\w+) =`).FindAllStringSubmatch(vars, -1)
		if len(names) < 5 {
			t.Fatalf("%s has %d vars", preset, len(names))
		}
		for _, name := range names {
			if !strings.Contains(section, "`"+name[1]+"`") {
				t.Errorf("docs/console.md doesn't have var %s of %s", name[1], preset)
			}
		}
	}
}
