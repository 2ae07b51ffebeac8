package profile

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"
)

// maxFile bounds a profile or station.toml, in bytes.
const maxFile = 1 << 20

// maxDepth bounds tables in tables and arrays in arrays.
const maxDepth = 16

// A node is one value of a TOML file with its place. Exactly one of value,
// table and items is used.
type node struct {
	pos   Pos
	value any // string, bool, int64, float64 or Date
	table map[string]*node
	order []string // keys of table as written
	items []*node
	array bool
	inner bool // an inline table or array, which nothing may extend
	named bool // a table that a [header] opened
}

func newTable(pos Pos) *node { return &node{pos: pos, table: map[string]*node{}} }

func (n *node) set(key string, v *node) {
	n.table[key] = v
	n.order = append(n.order, key)
}

// kind names what n is, for the end of a mistake.
func (n *node) kind() string {
	switch {
	case n.table != nil:
		return "a table"
	case n.array:
		return "a list"
	}
	switch n.value.(type) {
	case string:
		return "text"
	case bool:
		return "true or false"
	case int64:
		return "a number"
	case float64:
		return "a fraction"
	default:
		return "a date"
	}
}

// merged is base with everything that over sets: tables are merged, all else is
// replaced. Each node keeps its own place, so a mistake points at its own file.
func merged(base, over *node) *node {
	if base == nil || base.table == nil || over.table == nil {
		return over
	}
	out := newTable(over.pos)
	for _, k := range base.order {
		out.set(k, base.table[k])
	}
	for _, k := range over.order {
		if below, ok := out.table[k]; ok {
			out.table[k] = merged(below, over.table[k])
			continue
		}
		out.set(k, over.table[k])
	}
	return out
}

// A builder turns the parser's expressions into a tree of nodes.
type builder struct {
	doc  *Doc
	p    unstable.Parser
	root *node
	here *node  // the table that the last [header] opened
	path string // its key
}

// parse reads data into a tree. What is wrong ends up in doc; after a mistake of
// syntax the rest of the file can't be read and root is what came before.
func parse(doc *Doc, data []byte) *node {
	b := &builder{doc: doc, root: newTable(Pos{File: doc.name})}
	b.here = b.root
	if len(data) > maxFile {
		doc.add(Mistake{Pos: b.root.pos, Text: fmt.Sprintf("has more than %d bytes, which is no profile and no station.toml", maxFile)})
		return b.root
	}
	// The full decoder knows rules that the parser alone doesn't.
	var all map[string]any
	err := toml.Unmarshal(data, &all)
	b.p.Reset(data)
	for b.p.NextExpression() {
		b.expression(b.p.Expression())
	}
	doc.cut = b.p.Error() != nil
	if err != nil && (doc.cut || len(doc.mistakes) == 0) {
		doc.add(syntax(doc.name, err))
	}
	return b.root
}

func syntax(file string, err error) Mistake {
	m := Mistake{Pos: Pos{File: file}, Text: strings.TrimPrefix(err.Error(), "toml: ")}
	var d *toml.DecodeError
	if errors.As(err, &d) {
		m.Pos.Line, m.Pos.Col = d.Position()
	}
	return m
}

func (b *builder) expression(e *unstable.Node) {
	switch e.Kind {
	case unstable.Table, unstable.ArrayTable:
		b.header(e)
	case unstable.KeyValue:
		if b.here != nil {
			b.keyValue(b.here, b.path, e, 0)
		}
	}
}

// header makes the table that a [header] or [[header]] opens. On a mistake it
// leaves no table open, and the keys below it are passed over.
func (b *builder) header(e *unstable.Node) {
	keys := e.Key()
	at, path := b.root, ""
	b.here = nil
	for keys.Next() {
		k := keys.Node()
		key := string(k.Data)
		path = join(path, key)
		pos := b.pos(k)
		if keys.IsLast() {
			b.here, b.path = b.open(at, path, key, pos, e.Kind == unstable.ArrayTable)
			return
		}
		next := at.table[key]
		if next == nil {
			next = newTable(pos)
			at.set(key, next)
		}
		if next.array && len(next.items) > 0 {
			path = item(path, len(next.items)-1)
			next = next.items[len(next.items)-1]
		}
		if next.table == nil || next.inner {
			b.twice(pos, path, next)
			return
		}
		at = next
	}
}

func (b *builder) open(at *node, path, key string, pos Pos, array bool) (*node, string) {
	old := at.table[key]
	if !array {
		if old != nil && (old.table == nil || old.inner || old.named) {
			b.twice(pos, path, old)
		}
		if old == nil {
			old = newTable(pos)
			at.set(key, old)
		}
		if old.table == nil {
			return nil, path
		}
		old.named = true
		return old, path
	}
	if old != nil && (!old.array || old.inner) {
		b.twice(pos, path, old)
		return nil, path
	}
	if old == nil {
		old = &node{pos: pos, array: true}
		at.set(key, old)
	}
	old.items = append(old.items, newTable(pos))
	last := len(old.items) - 1
	return old.items[last], item(path, last)
}

// keyValue adds key = value, where key may be dotted.
func (b *builder) keyValue(at *node, path string, e *unstable.Node, depth int) {
	keys := e.Key()
	for keys.Next() {
		k := keys.Node()
		key := string(k.Data)
		path = join(path, key)
		pos := b.pos(k)
		old := at.table[key]
		if keys.IsLast() {
			if old != nil {
				b.twice(pos, path, old)
				return
			}
			at.set(key, b.value(e.Value(), path, pos, depth+1))
			return
		}
		if old == nil {
			old = newTable(pos)
			at.set(key, old)
		}
		if old.table == nil || old.inner {
			b.twice(pos, path, old)
			return
		}
		at = old
	}
}

// value makes the node of a value. Its place is that of its key.
func (b *builder) value(v *unstable.Node, path string, pos Pos, depth int) *node {
	if depth > maxDepth {
		b.doc.add(Mistake{Pos: pos, Key: path, Text: fmt.Sprintf("is nested deeper than %d levels", maxDepth)})
		return &node{pos: pos, value: ""}
	}
	switch v.Kind {
	case unstable.Array:
		n := &node{pos: pos, array: true, inner: true}
		for it := v.Children(); it.Next(); {
			if c := it.Node(); c.Kind != unstable.Comment {
				n.items = append(n.items, b.value(c, item(path, len(n.items)), pos, depth+1))
			}
		}
		return n
	case unstable.InlineTable:
		n := newTable(pos)
		for it := v.Children(); it.Next(); {
			if c := it.Node(); c.Kind == unstable.KeyValue {
				b.keyValue(n, path, c, depth+1)
			}
		}
		n.inner = true
		return n
	}
	return &node{pos: pos, value: scalar(v)}
}

func scalar(v *unstable.Node) any {
	text := string(v.Data)
	switch v.Kind {
	case unstable.Bool:
		return text == "true"
	case unstable.Integer:
		if n, err := strconv.ParseInt(strings.ReplaceAll(text, "_", ""), 0, 64); err == nil {
			return n
		}
		return float64(0) // out of range: the full decoder has said so
	case unstable.Float:
		f, _ := strconv.ParseFloat(strings.ReplaceAll(text, "_", ""), 64) // a huge one is ±Inf, which no setting allows
		return f
	case unstable.LocalDate:
		d, _ := ParseDate(text) // the full decoder has judged it
		return d
	case unstable.String:
		return text
	default: // times of day are used by no setting
		return time.Time{}
	}
}

func (b *builder) twice(pos Pos, path string, first *node) {
	b.doc.add(Mistake{Pos: pos, Key: path, Text: fmt.Sprintf("written twice, first in line %d", first.pos.Line)})
}

func (b *builder) pos(k *unstable.Node) Pos {
	at := b.p.Shape(k.Raw).Start
	return Pos{File: b.doc.name, Line: at.Line, Col: at.Column}
}

func join(path, key string) string {
	if !bare(key) {
		key = strconv.Quote(clip(key))
	}
	if path == "" {
		return key
	}
	return path + "." + key
}

// item is the key of the i-th item of a list; people count from 1.
func item(path string, i int) string { return fmt.Sprintf("%s[%d]", path, i+1) }

func bare(key string) bool {
	for _, r := range key {
		if (r < 'A' || r > 'Z') && (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' && r != '_' {
			return false
		}
	}
	return key != ""
}
