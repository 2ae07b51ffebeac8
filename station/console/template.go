package console

import (
	"fmt"
	"regexp"
	"strings"
)

// A template is text with placeholders, after the script's vars were put in.
type template struct {
	shown string // with the names of values and of secret vars in braces: for errors and transcripts
	parts []part
}

// A part is literal text or the name of a value.
type part struct {
	text   string
	name   string // of a value of the station, or empty
	secret bool   // text from a var that holds a password
}

// placeholder is what may stand between braces.
var placeholder = regexp.MustCompile(`^\{([A-Za-z0-9][A-Za-z0-9_.-]*)\}`)

// maxDepth bounds vars in vars.
const maxDepth = 8

// secretVar says whether a var holds something that must not be shown: a
// password that the factory gave to every device, say.
func secretVar(name string) bool {
	return strings.HasSuffix(name, "password") || strings.HasSuffix(name, "secret")
}

// parseTemplate splits text at its placeholders.
func parseTemplate(text string, vars map[string]string) (template, error) {
	var t template
	err := t.parse(text, vars, false, maxDepth)
	return t, err
}

func (t *template) parse(text string, vars map[string]string, secret bool, depth int) error {
	if depth == 0 {
		return fmt.Errorf("vars stand in each other without end")
	}
	for text != "" {
		i := strings.IndexByte(text, '{')
		if i < 0 {
			t.literal(text, secret)
			return nil
		}
		if i > 0 {
			t.literal(text[:i], secret)
		}
		rest := text[i:]
		found := placeholder.FindStringSubmatch(rest)
		switch {
		case strings.HasPrefix(rest, "{{"):
			t.literal("{", secret)
			text = rest[2:]
			continue
		case found == nil || i > 0 && text[i-1] == '$':
			t.literal("{", secret)
			text = rest[1:]
			continue
		}
		text = rest[len(found[0]):]
		if err := t.named(found[1], vars, secret, depth); err != nil {
			return err
		}
	}
	return nil
}

// named adds a var's text, or the name of a value.
func (t *template) named(name string, vars map[string]string, secret bool, depth int) error {
	v, ok := vars[name]
	hides := secretVar(name) && !secret && ok
	if !secret && (hides || !ok) {
		t.shown += "{" + name + "}"
	}
	if !ok {
		t.parts = append(t.parts, part{name: name})
		return nil
	}
	return t.parse(v, vars, secret || hides, depth-1)
}

func (t *template) literal(text string, secret bool) {
	t.parts = append(t.parts, part{text: text, secret: secret})
	if !secret {
		t.shown += text
	}
}

// names lists the values that t needs.
func (t template) names() []string {
	var names []string
	for _, p := range t.parts {
		if p.name != "" {
			names = append(names, p.name)
		}
	}
	return names
}

// empty says whether t is the empty text whatever the values are.
func (t template) empty() bool { return len(t.parts) == 0 }

// fill puts the vars into a text that is no template, such as a pattern. Braces
// that hold no var's name stay.
func fill(text string, vars map[string]string) string {
	for range maxDepth {
		next := anyName.ReplaceAllStringFunc(text, func(s string) string {
			if v, ok := vars[s[1:len(s)-1]]; ok {
				return v
			}
			return s
		})
		if next == text {
			return text
		}
		text = next
	}
	return text
}

var anyName = regexp.MustCompile(`\{[A-Za-z0-9][A-Za-z0-9_.-]*\}`)
