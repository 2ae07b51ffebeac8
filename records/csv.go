package records

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"mintmark/hsm/secret"
)

// maxCell is the longest cell of an import, in bytes.
const maxCell = 4 << 10

// A csvReader reads RFC 4180 strictly: cells between commas, lines that end with
// LF or CRLF, a quoted cell may hold commas, line breaks and doubled quotes.
//
// Every byte may be part of a credential. It keeps them in secret memory, makes
// no string of them, and its errors name line and column, never what is there.
// It reads ahead by one buffer and never holds more than a cell beyond that.
type csvReader struct {
	in   io.Reader
	mem  *secret.Value
	buf  []byte // what of mem is not yet used
	err  error  // why in ended; io.EOF at the end of the file
	done int64  // bytes taken from in

	line  int      // of the next byte, from 1
	names []string // of the columns, once the header is read
}

func newCSV(in io.Reader) *csvReader {
	return &csvReader{in: in, mem: secret.New(64 << 10), line: 1}
}

func (c *csvReader) close() { c.mem.Close() }

// fill reads on until at least want bytes are there, and reports whether they are.
func (c *csvReader) fill(want int) bool {
	for tries := 0; len(c.buf) < want && c.err == nil; tries++ {
		mem := c.mem.Bytes()
		kept := copy(mem, c.buf)
		n, err := c.in.Read(mem[kept:])
		c.buf, c.err, c.done = mem[:kept+n], err, c.done+int64(n)
		if tries == 100 {
			c.err = io.ErrNoProgress
		}
	}
	return len(c.buf) >= want
}

func (c *csvReader) next() (b byte, ok bool) {
	if len(c.buf) == 0 && !c.fill(1) {
		return 0, false
	}
	b, c.buf = c.buf[0], c.buf[1:]
	if b == '\n' {
		c.line++
	}
	return b, true
}

// atEnd reports whether the file ended; err is why if that is a fault.
func (c *csvReader) atEnd() (bool, error) {
	if c.fill(1) {
		return false, nil
	}
	if !errors.Is(c.err, io.EOF) {
		return true, fmt.Errorf("read line %d: %w", c.line, c.err)
	}
	return true, nil
}

// skipBOM drops a UTF-8 byte order mark, at the start of the file.
func (c *csvReader) skipBOM() {
	const bom = "\xef\xbb\xbf"
	if c.fill(len(bom)) && string(c.buf[:len(bom)]) == bom {
		c.buf = c.buf[len(bom):]
	}
}

// A sep is what ended a cell.
type sep byte

const (
	comma sep = iota
	lineEnd
	fileEnd
)

// ordinary marks the bytes that stand for themselves in every cell and whose
// order needs no check: printable ASCII without comma and quote.
var ordinary = func() (is [256]bool) {
	for b := 0x20; b <= 0x7e; b++ {
		is[b] = b != ',' && b != '"'
	}
	return is
}()

// run takes the ordinary bytes that come next, at most max; it may miss some at
// the end of the buffer.
func (c *csvReader) run(max int) []byte {
	n, buf := 0, c.buf[:min(len(c.buf), max)]
	for n < len(buf) && ordinary[buf[n]] {
		n++
	}
	c.buf = c.buf[n:]
	return buf[:n]
}

// cell appends the content of the next cell, column col of its line, to dst,
// which must have room for maxCell bytes more.
func (c *csvReader) cell(dst []byte, col int) ([]byte, sep, error) {
	start, line := len(dst), c.line
	c.fill(1)
	quoted := len(c.buf) > 0 && c.buf[0] == '"'
	if quoted {
		c.buf = c.buf[1:]
	}
	dst = append(dst, c.run(maxCell)...) // most cells are nothing else; the loop takes what is left
	for b, ok := c.next(); ok; b, ok = c.next() {
		switch {
		case b == 0:
			return dst, 0, c.fault(line, col, "cell holds a zero byte, want text")
		case quoted && b == '"':
			if b, ok = c.next(); !ok || b != '"' {
				return c.finish(dst, start, line, col, b, ok)
			}
		case !quoted && (b == ',' || b == '\n' || b == '\r'):
			return c.finish(dst, start, line, col, b, ok)
		case !quoted && b == '"':
			return dst, 0, c.fault(line, col, "quote inside a cell, want the whole cell in quotes and the quote doubled")
		}
		if len(dst)-start == maxCell {
			return dst, 0, c.fault(line, col, "cell is longer than %d bytes", maxCell)
		}
		dst = append(dst, b)
	}
	if quoted {
		return dst, 0, c.fault(line, col, "quoted cell has no closing quote")
	}
	return c.finish(dst, start, line, col, 0, false)
}

// finish checks the cell that began at start and what follows it: b, or the end
// of the file.
func (c *csvReader) finish(dst []byte, start, line, col int, b byte, ok bool) ([]byte, sep, error) {
	end := lineEnd
	switch {
	case !ok:
		if _, err := c.atEnd(); err != nil {
			return dst, 0, err
		}
		end = fileEnd
	case b == ',':
		end = comma
	case b == '\r':
		if b, ok = c.next(); !ok || b != '\n' {
			return dst, 0, c.fault(line, col, "carriage return without line feed, want lines that end with LF or CRLF")
		}
	case b != '\n':
		return dst, 0, c.fault(line, col, "text after a closing quote, want a comma or the end of the line")
	}
	if !utf8.Valid(dst[start:]) {
		return dst, 0, c.fault(line, col, "cell is not valid UTF-8")
	}
	return dst, end, nil
}

// fault refuses the file. A fault of the disk or network comes first.
func (c *csvReader) fault(line, col int, format string, args ...any) error {
	if c.err != nil && !errors.Is(c.err, io.EOF) {
		return fmt.Errorf("read line %d: %w", line, c.err)
	}
	name := ""
	if col > 0 && col <= len(c.names) {
		name = " (" + c.names[col-1] + ")"
	}
	return refuse("", "line %d, column %d%s: %s", line, col, name, fmt.Sprintf(format, args...))
}

// A chunk holds some rows of a table in secret memory. Chunks are used again.
type chunk struct {
	mem   *secret.Value
	data  []byte   // cells one after the other, as in the file
	ends  []uint32 // where each cell ends in data
	cols  []int    // where in a line position i is: 0 the serial, then the credentials in order
	first int      // data row of the first one, from 1
	rows  int
}

// newChunk makes a chunk for tables of so many columns; a row always fits into
// an empty one.
func newChunk(columns int) *chunk {
	m := secret.New(chunkSize(columns))
	return &chunk{mem: m, data: m.Bytes()[:0]}
}

func chunkSize(columns int) int { return 64<<10 + columns*maxCell }

func (k *chunk) close() { k.mem.Close() }

// cell returns position i of a row, a view.
func (k *chunk) cell(row, i int) []byte {
	n := row*len(k.cols) + k.cols[i]
	start := uint32(0)
	if n > 0 {
		start = k.ends[n-1]
	}
	return k.data[start:k.ends[n]]
}

// A table reads the rows of an import: a header "serial" and the names of the
// credentials in any order, then one line per device with no cell empty.
type table struct {
	csv  *csvReader
	cols []int // as in chunk
	rows int
}

// openTable reads the header. The caller closes the table, also after an error.
func openTable(in io.Reader, credentials []string) (*table, error) {
	t := &table{csv: newCSV(in)}
	t.csv.skipBOM()
	return t, t.header(append([]string{"serial"}, credentials...))
}

func (t *table) close() { t.csv.close() }

// header never shows what it read: a file without a header begins with a
// credential.
func (t *table) header(want []string) error {
	if end, err := t.csv.atEnd(); end {
		return cmp.Or(err, t.headerFault(want, "file is empty"))
	}
	cell := secret.New(maxCell)
	defer cell.Close()
	var names []string
	for end := comma; end == comma; {
		b, e, err := t.csv.cell(cell.Bytes()[:0], len(names)+1)
		if err != nil {
			return err
		}
		i := slices.IndexFunc(want, func(w string) bool { return w == string(b) })
		switch {
		case i < 0:
			return t.headerFault(want, "line 1, column %d: no such column in this product", len(names)+1)
		case slices.Contains(names, want[i]):
			return t.headerFault(want, "line 1, column %d: column %s is there twice", len(names)+1, want[i])
		}
		names, end = append(names, want[i]), e
	}
	for _, w := range want {
		if !slices.Contains(names, w) {
			return t.headerFault(want, "line 1: column %s is missing", w)
		}
		t.cols = append(t.cols, slices.Index(names, w))
	}
	t.csv.names = names
	return nil
}

func (t *table) headerFault(want []string, format string, args ...any) error {
	return refuse("the first line must be "+strings.Join(want, ",")+", in any order", "%s", fmt.Sprintf(format, args...)+
		", want columns "+strings.Join(want, ", "))
}

// read fills k with as many rows as fit, at least one, or returns io.EOF.
func (t *table) read(k *chunk) error {
	k.data, k.ends, k.cols = k.data[:0], k.ends[:0], t.cols
	k.first, k.rows = t.rows+1, 0
	for k.rows < maxChunkRows && cap(k.data)-len(k.data) >= len(t.cols)*maxCell {
		if end, err := t.csv.atEnd(); err != nil {
			return err
		} else if end {
			break
		}
		if err := t.row(k); err != nil {
			return err
		}
		k.rows++
	}
	if k.rows == 0 {
		return io.EOF
	}
	t.rows += k.rows
	return nil
}

// maxChunkRows keeps a chunk's share of work small where cells are short.
const maxChunkRows = 2000

func (t *table) row(k *chunk) error {
	line, width := t.csv.line, len(t.cols)
	for col := 1; ; col++ {
		start := len(k.data)
		data, end, err := t.csv.cell(k.data, col)
		if err != nil {
			return err
		}
		k.data, k.ends = data, append(k.ends, uint32(len(data)))
		switch empty := len(data) == start; {
		case empty && col == 1 && end != comma:
			return refuse("", "line %d: empty line, want a row of %d cells", line, width)
		case end == comma && col == width:
			return refuse("", "line %d, column %d: one cell too many, want %d", line, col+1, width)
		case end != comma && col < width:
			return refuse("", "line %d: row has %s, want %d", line, plural(col, "cell"), width)
		case empty:
			return t.csv.fault(line, col, "cell is empty, want a value")
		case end != comma:
			return nil
		}
	}
}
