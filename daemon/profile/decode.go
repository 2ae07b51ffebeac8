package profile

import (
	"encoding"
	"fmt"
	"reflect"
	"strings"
	"time"
)

// A Date is a day, as TOML writes it: 2031-12-31.
type Date struct{ time.Time }

// ParseDate reads a day.
func ParseDate(s string) (Date, error) {
	t, err := time.Parse(time.DateOnly, s)
	if err != nil {
		return Date{}, fmt.Errorf("is no day, want one like 2031-12-31")
	}
	return Date{t}, nil
}

func (d Date) String() string { return d.Format(time.DateOnly) }

// MarshalJSON writes the day alone.
func (d Date) MarshalJSON() ([]byte, error) { return []byte(`"` + d.String() + `"`), nil }

// Decode stores the file in v, a pointer to a struct whose fields carry toml
// tags. A key that no field has is a mistake, a value of another type too.
//
// Fields are text, bool, int, float64, [time.Duration] and [Date], types that
// unmarshal text, and structs, slices, pointers and maps by name of these.
func (d *Doc) Decode(v any) { d.table(d.root, "", reflect.ValueOf(v).Elem()) }

func (d *Doc) table(n *node, path string, v reflect.Value) {
	if n.table == nil {
		d.wrong(n, path, "a table")
		return
	}
	fields := map[string]reflect.Value{}
	names := collect(v, fields, nil)
	for _, key := range n.order {
		field, ok := fields[key]
		if !ok {
			d.unknown(n.table[key], join(path, key), key, names)
			continue
		}
		d.value(n.table[key], join(path, key), field)
	}
}

// collect finds the settable fields by tag, those of embedded structs too.
func collect(v reflect.Value, fields map[string]reflect.Value, names []string) []string {
	for i := range v.NumField() {
		f := v.Type().Field(i)
		if f.Anonymous && f.Type.Kind() == reflect.Struct {
			names = collect(v.Field(i), fields, names)
			continue
		}
		name, _, _ := strings.Cut(f.Tag.Get("toml"), ",")
		if name == "" || name == "-" {
			continue
		}
		fields[name] = v.Field(i)
		names = append(names, name)
	}
	return names
}

func (d *Doc) unknown(n *node, path, key string, names []string) {
	text := "no such setting"
	if near := nearest(key, names); near != "" {
		text += ", did you mean " + near
	} else if len(names) > 0 && len(names) <= 12 {
		text += ", want " + oneOf(names)
	}
	d.add(Mistake{Pos: n.pos, Key: path, Text: text})
}

func (d *Doc) wrong(n *node, path, want string) {
	d.add(Mistake{Pos: n.pos, Key: path, Text: "is " + n.kind() + ", want " + want, unreadable: true})
}

// value stores one node in v. It is one switch over types, so it is long.
func (d *Doc) value(n *node, path string, v reflect.Value) {
	if v.Kind() == reflect.Pointer {
		p := reflect.New(v.Type().Elem())
		v.Set(p)
		v = p.Elem()
	}
	switch t := v.Addr().Interface().(type) {
	case *time.Duration:
		d.duration(n, path, t)
		return
	case *Date:
		if day, ok := n.value.(Date); ok {
			*t = day
			return
		}
		d.wrong(n, path, "a day like 2031-12-31, without quotes")
		return
	case encoding.TextUnmarshaler:
		if v.Kind() != reflect.Struct || n.table == nil { // a struct may be written in short, as text
			d.text(n, path, t)
			return
		}
	}
	switch v.Kind() {
	case reflect.Struct:
		d.table(n, path, v)
	case reflect.Slice:
		d.list(n, path, v)
	case reflect.Map:
		d.byName(n, path, v)
	default:
		d.scalar(n, path, v)
	}
}

func (d *Doc) duration(n *node, path string, t *time.Duration) {
	s, ok := n.value.(string)
	if !ok {
		d.wrong(n, path, `a time with its unit in quotes, like "3ms" or "20s"`)
		return
	}
	span, err := time.ParseDuration(s)
	if err != nil || span < 0 {
		d.add(Mistake{Pos: n.pos, Key: path, Text: fmt.Sprintf(`is %q, want a time with its unit, like "3ms" or "20s"`, clip(s))})
		return
	}
	*t = span
}

func (d *Doc) text(n *node, path string, t encoding.TextUnmarshaler) {
	s, ok := n.value.(string)
	if !ok {
		d.wrong(n, path, "text in quotes")
		return
	}
	if err := t.UnmarshalText([]byte(s)); err != nil {
		d.add(Mistake{Pos: n.pos, Key: path, Text: err.Error(), unreadable: true})
	}
}

func (d *Doc) list(n *node, path string, v reflect.Value) {
	if !n.array {
		d.wrong(n, path, "a list")
		return
	}
	out := reflect.MakeSlice(v.Type(), len(n.items), len(n.items))
	for i, sub := range n.items {
		d.value(sub, item(path, i), out.Index(i))
	}
	v.Set(out)
}

func (d *Doc) byName(n *node, path string, v reflect.Value) {
	if n.table == nil {
		d.wrong(n, path, "a table")
		return
	}
	out := reflect.MakeMapWithSize(v.Type(), len(n.order))
	for _, key := range n.order {
		sub := reflect.New(v.Type().Elem()).Elem()
		d.value(n.table[key], join(path, key), sub)
		out.SetMapIndex(reflect.ValueOf(key).Convert(v.Type().Key()), sub)
	}
	v.Set(out)
}

func (d *Doc) scalar(n *node, path string, v reflect.Value) {
	switch v.Kind() {
	case reflect.String:
		if s, ok := n.value.(string); ok {
			v.SetString(s)
			return
		}
		d.wrong(n, path, "text in quotes")
	case reflect.Bool:
		if b, ok := n.value.(bool); ok {
			v.SetBool(b)
			return
		}
		d.wrong(n, path, "true or false")
	case reflect.Int, reflect.Int64:
		if i, ok := n.value.(int64); ok {
			v.SetInt(i)
			return
		}
		d.wrong(n, path, "a whole number")
	case reflect.Float64:
		if f, ok := number(n.value); ok {
			v.SetFloat(f)
			return
		}
		d.wrong(n, path, "a number")
	default:
		panic("profile: internal error: no setting can be a " + v.Kind().String())
	}
}

func number(v any) (float64, bool) {
	switch f := v.(type) {
	case int64:
		return float64(f), true
	case float64:
		return f, true
	}
	return 0, false
}

// clip shortens what a file says for a mistake.
func clip(s string) string {
	if len(s) > 40 {
		return s[:40] + "…"
	}
	return s
}
