package console

import "fmt"

// A Mistake is one thing that is wrong with a script.
type Mistake struct {
	Key  string // of the setting or step as in the profile, from 1: "prompt", "login.denied", "inject[2].expect"
	Text string // what is wrong and what was wanted
}

func (m *Mistake) Error() string { return fmt.Sprintf("%s: %s", m.Key, m.Text) }

// Override returns s with everything that o sets: its settings, its vars one by
// one, and each phase that it has, as a whole. It is how a profile builds on a
// preset.
func (s Script) Override(o Script) Script { return o }

// Check reports every mistake in the script as a joined error of [*Mistake]s.
// With the names of the product's credentials it also reports placeholders that
// nothing fills.
func (s Script) Check(credentials ...string) error { return nil }
