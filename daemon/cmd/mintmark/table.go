package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
)

// A table lines up columns for people.
type table struct{ w *tabwriter.Writer }

func newTable(out io.Writer, columns ...string) *table {
	t := &table{tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)}
	t.row(anys(columns)...)
	return t
}

func (t *table) row(cells ...any) {
	text := make([]string, len(cells))
	for i, c := range cells {
		text[i] = cell(c)
	}
	fmt.Fprintln(t.w, strings.Join(text, "\t"))
}

func (t *table) end() error { return t.w.Flush() }

// cell writes what is empty as a dash, so that columns can be counted.
func cell(c any) string {
	switch v := c.(type) {
	case time.Time:
		if v.IsZero() {
			return "-"
		}
		return v.Local().Format("2006-01-02 15:04:05")
	case time.Duration:
		return v.Round(time.Millisecond).String()
	}
	if s := fmt.Sprint(c); s != "" {
		return s
	}
	return "-"
}

func anys(words []string) []any {
	out := make([]any, len(words))
	for i, w := range words {
		out[i] = w
	}
	return out
}

// pairs prints names and values below each other, without the empty ones.
func pairs(out io.Writer, kv ...any) error {
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	for i := 0; i+1 < len(kv); i += 2 {
		if c := cell(kv[i+1]); c != "-" {
			fmt.Fprintf(w, "%v\t%s\n", kv[i], c)
		}
	}
	return w.Flush()
}

// plural counts things: 1 mistake, 2 mistakes.
func plural(n int, thing string) string {
	if n != 1 {
		thing += "s"
	}
	return fmt.Sprintf("%d %s", n, thing)
}
