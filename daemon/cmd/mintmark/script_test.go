package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"

	"mintmark/hsm/soft"
	"mintmark/records"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"mintmark": main, "stubborn": stubborn})
}

// TestScripts runs every promise of the command line as a technician would.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"status": status, "json": jsonValue, "rows": rows, "answers": answers, "patch": patch, "hold": hold, "csv": csv, "newer": newer, "tomorrow": tomorrow, "powerless": powerless,
		},
		RequireExplicitExec: true,
		UpdateScripts:       *update,
	})
}

// status runs a command and wants its exit status: status 1 mintmark run.
func status(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: status N COMMAND [ARG...]")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	err = ts.Exec(args[1], args[2:]...)
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("exit status %d, want %d", got, want)
	}
}

// jsonValue wants a value of the JSON on stdout: json violations.0.row 17.
func jsonValue(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: json PATH VALUE")
	}
	d := json.NewDecoder(strings.NewReader(ts.ReadFile("stdout")))
	d.UseNumber()
	var v any
	ts.Check(d.Decode(&v))
	for key := range strings.SplitSeq(args[0], ".") {
		v = inside(v, key)
	}
	if got := fmt.Sprint(v); (got == args[1]) == neg {
		ts.Fatalf("%s is %s, want %s", args[0], got, args[1])
	}
}

func inside(v any, key string) any {
	switch x := v.(type) {
	case map[string]any:
		return x[key]
	case []any:
		if key == "len" {
			return len(x)
		}
		if i, err := strconv.Atoi(key); err == nil && i < len(x) {
			return x[i]
		}
	}
	return nil
}

// csv writes a file of credentials: csv FILE FIRST COUNT makes rows SN<FIRST>...
// whose passwords follow from their number.
func csv(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: csv FILE FIRST COUNT")
	}
	first, err := strconv.Atoi(args[1])
	ts.Check(err)
	n, err := strconv.Atoi(args[2])
	ts.Check(err)
	var b bytes.Buffer
	b.WriteString("serial,admin\n")
	for i := range n {
		fmt.Fprintf(&b, "SN%d,%s\n", first+i, password(first+i))
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), b.Bytes(), 0o600))
}

func password(n int) string { return fmt.Sprintf("PW%06dXKCDFHJM", n) }

// rows replaces rows of a CSV file: rows FILE ROW=TEXT... where rows count from 1
// and {N} is the password of number N.
func rows(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: rows FILE ROW=TEXT...")
	}
	lines := strings.Split(ts.ReadFile(args[0]), "\n")
	for _, a := range args[1:] {
		at, text, _ := strings.Cut(a, "=")
		row, err := strconv.Atoi(at)
		ts.Check(err)
		if from, to := strings.Index(text, "{"), strings.Index(text, "}"); from >= 0 && to > from {
			n, err := strconv.Atoi(text[from+1 : to])
			ts.Check(err)
			text = text[:from] + password(n) + text[to+1:]
		}
		lines[row] = text
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(strings.Join(lines, "\n")), 0o600))
}

// patch replaces text in a file, which must be there once: patch FILE OLD NEW.
// \n in either is a line end.
func patch(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: patch FILE OLD NEW")
	}
	text := ts.ReadFile(args[0])
	lines := strings.NewReplacer(`\n`, "\n")
	before, after := lines.Replace(args[1]), lines.Replace(args[2])
	if strings.Count(text, before) != 1 {
		ts.Fatalf("%q is %d times in %s, want once", before, strings.Count(text, before), args[0])
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(strings.Replace(text, before, after, 1)), 0o600))
}

// answers waits until a daemon answers on a socket.
func answers(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: answers SOCKET")
	}
	every := time.NewTicker(20 * time.Millisecond)
	defer every.Stop()
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); <-every.C {
		if c, err := net.Dial("unix", ts.MkAbs(args[0])); err == nil {
			c.Close()
			return
		}
	}
	ts.Fatalf("nobody answers on %s within 30 s", args[0])
}

// hold locks a ledger folder as another process would, until the script ends.
func hold(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: hold LEDGER")
	}
	f, err := os.OpenFile(ts.MkAbs(args[0])+"/lock", os.O_RDWR, 0)
	ts.Check(err)
	ts.Check(unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB))
	ts.Defer(func() { f.Close() })
}

// newer makes a ledger say that it is of a schema after this program's: number and
// checksum in both sectors of its head file, as docs/ledger.md has them.
func newer(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: newer LEDGER")
	}
	head := []byte(ts.ReadFile(args[0] + "/head"))
	changed := 0
	for at := 0; at+100 <= len(head); at += 4096 {
		slot := head[at : at+100]
		if slot[0] == 0 {
			continue // never written
		}
		slot[19] = 99
		binary.BigEndian.PutUint32(slot[96:], crc32.Checksum(slot[:96], crc32.MakeTable(crc32.Castagnoli)))
		changed++
	}
	if changed == 0 {
		ts.Fatalf("head file of %s has no slot", args[0])
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0])+"/head", head, 0o600))
}

// tomorrow leaves a record in a station's ledger that was made a day ahead.
func tomorrow(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: tomorrow STATION")
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	dir := ts.MkAbs(args[0])
	a, err := soft.Open(dir + "/authority")
	ts.Check(err)
	defer a.Close()
	l, err := records.Open(ctx, dir+"/ledger", a, a, records.Options{
		Now: func() time.Time { return time.Now().AddDate(0, 0, 1) },
	})
	ts.Check(err)
	product := records.Product{ID: "t", Credentials: []records.Spec{{
		Name: "key", Kind: records.SymmetricKey, Origin: records.Generated, Bits: 256,
	}}}
	_, err = l.OpenBatch(ctx, records.OpenRequest{Product: product, Batch: "T1", Quota: 1, Actor: records.Actor{Name: "test"}})
	ts.Check(errors.Join(err, l.Close()))
}
