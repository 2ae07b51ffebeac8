// Package label fills a profile's ZPL template and has it printed.
package label

import "mintmark/hsm/secret"

// A Template is a label with fields to fill.
type Template struct{}

// A Reading is a value that a scan of the label gave.
type Reading struct {
	Credential string
	Value      *secret.Value
}

// Parse reads a template.
func Parse(zpl string, credentials []string) (*Template, error) { panic("todo") }

// Credentials lists the credentials on the label.
func (t *Template) Credentials() []string { panic("todo") }

// Render fills the template.
func (t *Template) Render(plain map[string]string, secrets map[string]*secret.Value) (*secret.Value, error) {
	panic("todo")
}

// Read takes a scan apart.
func (t *Template) Read(scan *secret.Value, plain map[string]string) []Reading { panic("todo") }
