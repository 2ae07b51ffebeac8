package records

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
)

// readTable reads a whole file: rows of cells, the serial first, then the
// credentials in order.
func readTable(in io.Reader, credentials ...string) ([][]string, error) {
	t, err := openTable(in, credentials)
	defer t.close()
	if err != nil {
		return nil, err
	}
	k := newChunk(1 + len(credentials))
	defer k.close()
	var rows [][]string
	for {
		if err := t.read(k); errors.Is(err, io.EOF) {
			return rows, nil
		} else if err != nil {
			return nil, err
		}
		if k.first != len(rows)+1 {
			return nil, fmt.Errorf("chunk begins at row %d, want %d", k.first, len(rows)+1)
		}
		for r := range k.rows {
			var row []string
			for i := range k.cols {
				row = append(row, string(k.cell(r, i)))
			}
			rows = append(rows, row)
		}
	}
}

func TestTableReadsWhatRFC4180Allows(t *testing.T) {
	want := [][]string{{"S1", "alpha", "one"}, {"S2", `be"t,a`, "two\nlines"}}
	for name, file := range map[string]string{
		"LF":                   "serial,admin,wifi\nS1,alpha,one\nS2,\"be\"\"t,a\",\"two\nlines\"\n",
		"CRLF":                 "serial,admin,wifi\r\nS1,alpha,one\r\nS2,\"be\"\"t,a\",\"two\nlines\"\r\n",
		"no last line end":     "serial,admin,wifi\nS1,alpha,one\nS2,\"be\"\"t,a\",\"two\nlines\"",
		"byte order mark":      "\xef\xbb\xbfserial,admin,wifi\nS1,alpha,one\nS2,\"be\"\"t,a\",\"two\nlines\"\n",
		"all quoted":           "\"serial\",\"admin\",\"wifi\"\n\"S1\",\"alpha\",\"one\"\n\"S2\",\"be\"\"t,a\",\"two\nlines\"\n",
		"mark and quoted":      "\xef\xbb\xbf\"serial\",admin,wifi\nS1,alpha,one\nS2,\"be\"\"t,a\",\"two\nlines\"\n",
		"credentials swapped":  "serial,wifi,admin\nS1,one,alpha\nS2,\"two\nlines\",\"be\"\"t,a\"\n",
		"serial at the end":    "wifi,admin,serial\none,alpha,S1\n\"two\nlines\",\"be\"\"t,a\",S2\n",
		"LF and CRLF together": "serial,admin,wifi\r\nS1,alpha,one\nS2,\"be\"\"t,a\",\"two\nlines\"\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			for _, in := range []io.Reader{strings.NewReader(file), iotest.OneByteReader(strings.NewReader(file)), iotest.DataErrReader(strings.NewReader(file))} {
				got, err := readTable(in, "admin", "wifi")
				if err != nil || !slices.EqualFunc(got, want, slices.Equal) {
					t.Errorf("readTable = %q, %v, want %q", got, err, want)
				}
			}
		})
	}
}

func TestTableRefusesWithLineAndColumn(t *testing.T) {
	const head = "serial,admin,wifi\n"
	const columns = ", want columns serial, admin, wifi"
	for _, tt := range []struct{ name, file, want string }{
		{"empty file", "", "file is empty" + columns},
		{"byte order mark only", "\xef\xbb\xbf", "file is empty" + columns},
		{"missing column", "serial,admin\nS1,GEHEIM\n", "line 1: column wifi is missing" + columns},
		{"unknown column", "serial,admin,wifi,GEHEIM\n", "line 1, column 4: no such column in this product" + columns},
		{"no header", "S1,GEHEIM,other\n", "line 1, column 1: no such column in this product" + columns},
		{"other separator", "serial;admin;wifi\n", "line 1, column 1: no such column in this product" + columns},
		{"duplicate column", "serial,admin,admin\n", "line 1, column 3: column admin is there twice" + columns},
		{"UTF-16", "\xff\xfes\x00e\x00", "line 1, column 1: cell holds a zero byte, want text"},
		{"row of one cell", head + "GEHEIM\n", "line 2: row has 1 cell, want 3"},
		{"row too short", head + "S1,GEHEIM\n", "line 2: row has 2 cells, want 3"},
		{"last row too short", head + "S1,a,b\nS2,GEHEIM", "line 3: row has 2 cells, want 3"},
		{"row too long", head + "S1,a,b,GEHEIM\n", "line 2, column 4: one cell too many, want 3"},
		{"empty line", head + "S1,a,b\n\nS2,c,d\n", "line 3: empty line, want a row of 3 cells"},
		{"empty value", head + "S1,GEHEIM,\n", "line 2, column 3 (wifi): cell is empty, want a value"},
		{"empty quoted value", head + "S1,\"\",GEHEIM\n", "line 2, column 2 (admin): cell is empty, want a value"},
		{"empty serial", head + ",GEHEIM,b\n", "line 2, column 1 (serial): cell is empty, want a value"},
		{"swapped columns", "serial,wifi,admin\nS1,GEHEIM,\n", "line 2, column 3 (admin): cell is empty, want a value"},
		{"cell too long", head + "S1," + strings.Repeat("G", 4097) + ",b\n", "line 2, column 2 (admin): cell is longer than 4096 bytes"},
		{"quoted cell too long", head + "S1,\"" + strings.Repeat("G", 4097) + "\",b\n", "line 2, column 2 (admin): cell is longer than 4096 bytes"},
		{"invalid UTF-8", head + "S1,GEHEIM\xff,b\n", "line 2, column 2 (admin): cell is not valid UTF-8"},
		{"zero byte", head + "S1,GEHEIM\x00,b\n", "line 2, column 2 (admin): cell holds a zero byte, want text"},
		{"quote inside", head + "S1,GEH\"EIM,b\n", "line 2, column 2 (admin): quote inside a cell, want the whole cell in quotes and the quote doubled"},
		{"text after quote", head + "S1,\"GEH\"EIM,b\n", "line 2, column 2 (admin): text after a closing quote, want a comma or the end of the line"},
		{"quote not closed", head + "S1,\"GEHEIM,b\nS2,c,d\n", "line 2, column 2 (admin): quoted cell has no closing quote"},
		{"bare carriage return", head + "S1,GEHEIM\rb,c\n", "line 2, column 2 (admin): carriage return without line feed, want lines that end with LF or CRLF"},
		{"old line ends", "serial,admin,wifi\rS1,GEHEIM,b\r", "line 1, column 3: carriage return without line feed, want lines that end with LF or CRLF"},
		{"line counted inside quotes", head + "S1,\"a\n\n\",b\nS2,GEHEIM\n", "line 5: row has 2 cells, want 3"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := readTable(strings.NewReader(tt.file), "admin", "wifi")
			if err == nil || err.Error() != tt.want {
				t.Errorf("readTable = %v, want %s", err, tt.want)
			}
			if !errors.Is(err, ErrRefused) {
				t.Errorf("%v is no refusal", err)
			}
			if strings.Contains(fmt.Sprintf("%+v", err), "GEH") {
				t.Errorf("%+v shows a value", err)
			}
		})
	}
}

func TestTableTellsAFaultOfTheDiskFromOneOfTheFile(t *testing.T) {
	for _, file := range []string{"", "ser", "serial,admin\nS1,a\n", "serial,admin\nS1,\"a", "serial,admin\nS1,a\r", "serial,admin\nS1"} {
		_, err := readTable(io.MultiReader(strings.NewReader(file), iotest.ErrReader(io.ErrUnexpectedEOF)), "admin")
		if !errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, ErrRefused) {
			t.Errorf("after %q readTable = %v, want unexpected EOF", file, err)
		}
	}
	if _, err := readTable(iotest.TimeoutReader(iotest.OneByteReader(strings.NewReader("serial,admin\n"))), "admin"); !errors.Is(err, iotest.ErrTimeout) {
		t.Errorf("readTable = %v, want a time-out", err)
	}
}

// endless is a file without end, of one character.
type endless struct{ read int }

func (e *endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'G'
	}
	e.read += len(p)
	return len(p), nil
}

func TestTableStopsEarlyInAHugeCell(t *testing.T) {
	huge := &endless{}
	_, err := readTable(io.MultiReader(strings.NewReader("serial,admin\nS1,"), huge), "admin")
	if err == nil || huge.read > 256<<10 {
		t.Errorf("readTable = %v after %d bytes, want a refusal after a few", err, huge.read)
	}
}

func TestTableReadsManyChunks(t *testing.T) {
	var file bytes.Buffer
	file.WriteString("admin,serial\n")
	for n := range 3 * maxChunkRows {
		fmt.Fprintf(&file, "%s,S%d\n", strings.Repeat("x", n%100+1), n)
	}
	rows, err := readTable(&file, "admin")
	if err != nil || len(rows) != 3*maxChunkRows {
		t.Fatalf("readTable = %d rows, %v, want %d", len(rows), err, 3*maxChunkRows)
	}
	for n, row := range rows {
		if row[0] != fmt.Sprintf("S%d", n) || len(row[1]) != n%100+1 {
			t.Fatalf("row %d is %q", n+1, row)
		}
	}
}

// TestCellsMayLieAcrossBuffers moves every kind of cell over the end of a buffer.
func TestCellsMayLieAcrossBuffers(t *testing.T) {
	const buffer = 64 << 10
	row := "\"S,1\",\"be\"\"t,a\",äöü\r\n"
	want := []string{"S,1", `be"t,a`, "äöü"}
	for shift := range len(row) + 2 {
		filled := "serial,admin,wifi\n"
		for n := buffer - shift - len(filled); n > 0; n = buffer - shift - len(filled) {
			filled += "S,a," + strings.Repeat("x", max(1, min(n-5, maxCell))) + "\n"
		}
		rows, err := readTable(strings.NewReader(filled+row+row), "admin", "wifi")
		if err != nil || !slices.Equal(rows[len(rows)-2], want) || !slices.Equal(rows[len(rows)-1], want) {
			t.Fatalf("%d bytes before the end of the buffer: %v, want %q twice", shift, err, want)
		}
	}
}

// TestCellsNeverLeaveSecretMemory fills chunks with the longest cells.
func TestCellsNeverLeaveSecretMemory(t *testing.T) {
	row := "S1," + strings.Repeat("x", maxCell) + "," + strings.Repeat("y", maxCell) + "\n"
	table, err := openTable(strings.NewReader("serial,admin,wifi\n"+strings.Repeat(row, 100)), []string{"admin", "wifi"})
	if err != nil {
		t.Fatal(err)
	}
	defer table.close()
	k := newChunk(3)
	defer k.close()
	for {
		if err := table.read(k); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		if &k.data[0] != &k.mem.Bytes()[0] {
			t.Fatal("a chunk outgrew its secret memory")
		}
	}
	if table.rows != 100 {
		t.Errorf("%d rows, want 100", table.rows)
	}
}

// FuzzTable checks that what is accepted means the same when it is written again.
func FuzzTable(f *testing.F) {
	seeds, err := os.ReadDir("testdata/csv")
	if err != nil || len(seeds) == 0 {
		f.Fatalf("%d seeds, %v, want some", len(seeds), err)
	}
	for _, s := range seeds {
		data, err := os.ReadFile("testdata/csv/" + s.Name())
		if err != nil || len(data) == 0 {
			f.Fatalf("seed %s has %d bytes, %v, want some", s.Name(), len(data), err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		rows, err := readTable(bytes.NewReader(in), "admin", "wifi")
		if err != nil {
			if !errors.Is(err, ErrRefused) {
				t.Errorf("readTable = %v, want a refusal", err)
			}
			return
		}
		var out bytes.Buffer
		out.WriteString("wifi,serial,admin\r\n")
		quote := func(s string) string { return `"` + strings.ReplaceAll(s, `"`, `""`) + `"` }
		for _, r := range rows {
			for _, c := range r {
				if c == "" || len(c) > maxCell {
					t.Fatalf("accepted a cell of %d bytes", len(c))
				}
			}
			fmt.Fprintf(&out, "%s,%s,%s\r\n", quote(r[2]), quote(r[0]), quote(r[1]))
		}
		again, err := readTable(iotest.OneByteReader(&out), "admin", "wifi")
		if err != nil || !slices.EqualFunc(again, rows, slices.Equal) {
			t.Errorf("read again: %q, %v, want %q", again, err, rows)
		}
	})
}
