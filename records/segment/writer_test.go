package segment

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var errDisk = errors.New("disk on fire")

// TestWriterRefuses checks each thing that a caller can get wrong. Nothing is left of it.
func TestWriterRefuses(t *testing.T) {
	one, two := Entry{Index: [16]byte{1}}, Entry{Index: [16]byte{2}}
	run := func(w *Writer, devices bool, serials ...string) {
		w.Run(Run{Devices: devices})
		for _, s := range serials {
			w.Owner([]byte(s), 0, 0)
		}
	}
	for name, tt := range map[string]struct {
		write func(w *Writer)
		want  string
	}{
		"claims descend":            {func(w *Writer) { w.Claims([]Entry{two, one}) }, "not above"},
		"claims descend over calls": {func(w *Writer) { w.Claims([]Entry{two}); w.Claims([]Entry{one}) }, "not above"},
		"a claim twice":             {func(w *Writer) { w.Claims([]Entry{one, one}) }, "not above"},
		"wide entries descend":      {func(w *Writer) { w.Wide([]Entry{two, one}) }, "not above"},
		"claims after wide":         {func(w *Writer) { w.Wide([]Entry{one}); w.Claims([]Entry{one}) }, "in this order"},
		"wide after runs":           {func(w *Writer) { run(w, false, "A"); w.Wide([]Entry{one}) }, "in this order"},
		"an owner without a run":    {func(w *Writer) { w.Owner([]byte("A"), 0, 0) }, "before the first run"},
		"a run without owners":      {func(w *Writer) { run(w, false); run(w, false, "A") }, "has no owners"},
		"a last run without owners": {func(w *Writer) { run(w, false) }, "has no owners"},
		"serials descend":           {func(w *Writer) { run(w, false, "B", "A") }, "not above"},
		"a device twice":            {func(w *Writer) { run(w, true, "A", "A") }, "not above"},
		"a long serial":             {func(w *Writer) { run(w, true, strings.Repeat("A", 256)) }, "256 bytes, want at most 255"},
		"a long product":            {func(w *Writer) { w.Run(Run{Product: strings.Repeat("A", 256)}) }, "256 bytes, want at most 255"},
		"places descend":            {func(w *Writer) { w.Run(Run{Narrow: []uint8{2, 1}}) }, "don't ascend"},
		"an owner that is not there": {func(w *Writer) {
			w.Claims([]Entry{{Owner: 1}})
			run(w, false, "A")
		}, "owner 1, there are 1"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "a")
			w, err := Create(path)
			if err != nil {
				t.Fatal(err)
			}
			tt.write(w)
			if _, err := w.Finish(); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Finish = %v, want %q", err, tt.want)
			}
			absent(t, path)
		})
	}
}

// TestSerialsMayBeEqual unless they are devices; they may be empty, and as long as 255 bytes.
func TestSerialsMayBeEqual(t *testing.T) {
	long := strings.Repeat("B", 255)
	m := model{runs: []modelRun{
		{Run{Owners: 3}, []Owner{{"", 5, 1}, {"", 3, 0}, {"", 1<<32 - 1, 1<<32 - 1}}},
		{Run{FirstOwner: 3, Owners: 3, Devices: true, Product: "lock-1"}, []Owner{{"", 5, 1}, {long[1:], 3, 0}, {long, 0, 0}}},
	}}
	s := m.open(t, t.TempDir(), "a")
	defer s.Close()
	m.check(t, s)
}

// TestEqualSerialsMayFillBlocks asks for all of them.
func TestEqualSerialsMayFillBlocks(t *testing.T) {
	owners := slices.Repeat([]Owner{{"B", 1, 1}}, 30000)
	owners[0].Serial = "A"
	m := model{runs: []modelRun{{Run{Owners: 30000}, owners}}}
	s := m.open(t, t.TempDir(), "a")
	defer s.Close()
	m.check(t, s)
	if n := len(s.footer.runs[0].blocks); n < 3 {
		t.Errorf("%d blocks, want more", n)
	}
}

// TestAnEndedWriterWritesNothing calls everything after Finish and after Discard.
func TestAnEndedWriterWritesNothing(t *testing.T) {
	for _, finish := range []bool{true, false} {
		path := filepath.Join(t.TempDir(), "a")
		w, err := Create(path)
		if err != nil {
			t.Fatal(err)
		}
		if finish {
			_, err = w.Finish()
		} else {
			err = w.Discard()
		}
		if err != nil {
			t.Fatal(err)
		}
		_, ferr := w.Finish()
		for _, err := range []error{w.Claims([]Entry{{}}), w.Wide(nil), w.Run(Run{}), w.Owner(nil, 0, 0), ferr} {
			if !errors.Is(err, os.ErrClosed) {
				t.Errorf("after the end: %v, want %v", err, os.ErrClosed)
			}
		}
		if err := w.Discard(); err != nil {
			t.Errorf("Discard after the end = %v", err)
		}
		if _, err := os.Stat(path); (err == nil) != finish {
			t.Errorf("after Discard: %v", err)
		}
	}
}

// TestCreateWantsANewFile checks that nothing is overwritten.
func TestCreateWantsANewFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a")
	if _, err := small().write(Disk{}, path); err != nil {
		t.Fatal(err)
	}
	if _, err := Create(path); !errors.Is(err, os.ErrExist) {
		t.Errorf("Create = %v, want %v", err, os.ErrExist)
	}
	if info, err := os.Stat(path); err != nil || info.Mode() != 0o600 || info.Size() < 2*blockSize {
		t.Errorf("the file is %v, %v", info, err)
	}
}

// TestFaults has each file operation of a write and of a merge fail in turn:
// lost, and done but reported lost. No manifest is given out, and no file is
// left unless its removal failed.
func TestFaults(t *testing.T) {
	m := newModel(rand.New(rand.NewPCG(1, 2)), 60000, 0, 1, 10, false)
	s := m.open(t, t.TempDir(), "in")
	defer s.Close()
	for what, write := range map[string]func(d Disk, path string) (Manifest, error){
		"write": func(d Disk, path string) (Manifest, error) { return m.write(d, path) },
		"merge": func(d Disk, path string) (Manifest, error) {
			return d.Merge(context.Background(), path, []*Segment{s}, nil)
		},
	} {
		var ops []string
		record := Disk{Around: func(op, _ string, do func() error) error { ops = append(ops, op); return do() }}
		if _, err := write(record, filepath.Join(t.TempDir(), "a")); err != nil {
			t.Fatal(err)
		}
		if got, want := fmt.Sprint(ops), "[create write write sync close sync folder]"; got != want {
			t.Fatalf("%s does %s, want %s", what, got, want)
		}
		for n, op := range ops {
			for _, done := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s/%d %s/done %v", what, n, op, done), func(t *testing.T) {
					path := filepath.Join(t.TempDir(), "a")
					if got, err := write(failing(n, done), path); !errors.Is(err, errDisk) || got.Footer != nil {
						t.Errorf("got %v, %v, want %v", got, err, errDisk)
					} else if want := op + " segment " + path; !strings.Contains(err.Error(), want) {
						t.Errorf("got %q, want %q in it", err, want)
					}
					absent(t, path)
				})
			}
		}
	}
}

// failing is a disk whose operation n fails.
func failing(n int, done bool) Disk {
	return Disk{Around: func(_, _ string, do func() error) error {
		n--
		if n != -1 {
			return do()
		}
		if done {
			return errors.Join(do(), errDisk)
		}
		return errDisk
	}}
}

// TestManyReadersAtOnce is for the race detector.
func TestManyReadersAtOnce(t *testing.T) {
	m := newModel(rand.New(rand.NewPCG(1, 2)), 3000, 50, 3, 300, false)
	s := m.open(t, t.TempDir(), "a")
	defer s.Close()
	done := make(chan struct{})
	for range 4 {
		go func() {
			m.check(t, s)
			done <- struct{}{}
		}()
	}
	for range 4 {
		<-done
	}
}
