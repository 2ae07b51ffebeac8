package records

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"mintmark/hsm/soft"
)

// Benchmarks have three sizes: one that shows that they run, the one that is
// published, and a ledger of a hundred million.
var (
	full  = flag.Bool("full", false, "benchmarks of the size that is published, not a hundredth of it")
	large = flag.Bool("large", false, "benchmarks with a hundred million claims in the ledger; implies -full")
)

// sized is a number of rows as published, or a hundredth of it.
func sized(n int) int {
	if *full || *large {
		return n
	}
	return n / 100
}

// existing is how many claims the ledgers of benchmarks have before.
func existing() []int {
	if *large {
		return []int{100_000_000}
	}
	return []int{0, sized(1_000_000), sized(10_000_000)}
}

// most is the largest of existing.
func most() int { return existing()[len(existing())-1] }

// short writes round numbers as 0, 10k and 1M.
func short(n int) string {
	switch {
	case n > 0 && n%1_000_000 == 0:
		return fmt.Sprintf("%dM", n/1_000_000)
	case n > 0 && n%1000 == 0:
		return fmt.Sprintf("%dk", n/1000)
	default:
		return fmt.Sprint(n)
	}
}

// A bench is what benchmarks share: made once, and removed by TestMain. It is for
// the one that runs.
type bench struct {
	dir   string
	keys  *soft.Authority
	files map[string]bool
}

var shared = &bench{files: map[string]bool{}}

func TestMain(m *testing.M) {
	code := m.Run()
	if shared.dir != "" {
		shared.keys.Close()
		os.RemoveAll(shared.dir)
	}
	os.Exit(code)
}

// made returns the path of something that make makes the first time.
func (s *bench) made(tb testing.TB, name string, make func(path string)) string {
	tb.Helper()
	s.begin(tb)
	path := filepath.Join(s.dir, name)
	if !s.files[name] {
		make(path)
		s.files[name] = true
	}
	return path
}

// begin makes the folder and the software authority in it.
func (s *bench) begin(tb testing.TB) {
	tb.Helper()
	if s.dir != "" {
		return
	}
	dir, err := os.MkdirTemp("", "mintmark-bench")
	if err != nil {
		tb.Fatal(err)
	}
	onDisk(tb, dir)
	if err := soft.Create(filepath.Join(dir, "keys")); err != nil {
		tb.Fatal(err)
	}
	if s.keys, err = soft.Open(filepath.Join(dir, "keys")); err != nil {
		tb.Fatal(err)
	}
	s.dir = dir
}

// onDisk refuses to publish figures of a disk that is none.
func onDisk(tb testing.TB, dir string) {
	tb.Helper()
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		tb.Fatal(err)
	}
	if (*full || *large) && st.Type == unix.TMPFS_MAGIC {
		tb.Fatalf("%s is in memory: set TMPDIR to a folder on a disk", dir)
	}
}

// authority is the software authority, for index and row keys.
func authority(tb testing.TB) *soft.Authority {
	tb.Helper()
	shared.begin(tb)
	return shared.keys
}

// forBench opens a ledger as production does, but for the limit on imports.
func forBench(tb testing.TB, dir string) *Ledger {
	tb.Helper()
	keys := authority(tb)
	l, err := Open(tb.Context(), dir, keys, keys, Options{ChecksPerHour: 1 << 30})
	if err != nil {
		tb.Fatal(err)
	}
	return l
}

// closedAfter closes a ledger at the end of a benchmark.
func closedAfter(tb testing.TB, l *Ledger) *Ledger {
	tb.Cleanup(func() {
		if err := l.Close(); err != nil {
			tb.Error(err)
		}
	})
	return l
}

// cloned returns a copy of a ledger's folder as it is on disk now. Segments never change,
// so they are linked.
func cloned(tb testing.TB, from string) string {
	tb.Helper()
	to := tb.TempDir()
	if err := filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		name, rerr := filepath.Rel(from, path)
		switch {
		case err != nil || rerr != nil:
			return fmt.Errorf("%w, %w", err, rerr)
		case name == "." || name == "ballast": // open makes it again
			return nil
		case d.IsDir():
			return os.Mkdir(filepath.Join(to, name), 0o700)
		case filepath.Ext(name) == ".seg":
			return os.Link(path, filepath.Join(to, name))
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, name), data, 0o600)
	}); err != nil {
		tb.Fatal(err)
	}
	return to
}

// rowsFile returns a CSV file of n rows, each with a serial and a password as
// generators make them, for rows of all imports that are numbered through.
func rowsFile(tb testing.TB, from, n int) string {
	tb.Helper()
	return shared.made(tb, fmt.Sprintf("%d-%d.csv", from, n), func(path string) {
		f, err := os.Create(path)
		if err != nil {
			tb.Fatal(err)
		}
		defer f.Close()
		w := bufio.NewWriterSize(f, 1<<20)
		w.WriteString("serial,admin\n")
		random, line := rand.New(rand.NewPCG(uint64(from), 1)), []byte(nil)
		for row := range n {
			line = appendPassword(append(appendSerial(line[:0], from+row), ','), random)
			w.Write(append(line, '\n'))
		}
		if err := w.Flush(); err != nil {
			tb.Fatal(err)
		}
	})
}

// appendSerial appends the serial of a row that is numbered through, so that
// serials ascend with it.
func appendSerial(b []byte, row int) []byte {
	return strconv.AppendInt(append(b, "SN"...), 1_000_000_000+int64(row), 10)
}

func appendPassword(b []byte, random *rand.Rand) []byte {
	const alphabet = "CDFHJKMPQRTVWXY23479"
	for x, c := random.Uint64(), 0; c < 15; c++ {
		b, x = append(b, alphabet[x%20]), x/20
		if c == 11 {
			x = random.Uint64()
		}
	}
	return b
}

// imported imports a file, which must be admitted.
func imported(tb testing.TB, l *Ledger, name, path string) {
	tb.Helper()
	f, err := os.Open(path)
	if err != nil {
		tb.Fatal(err)
	}
	defer f.Close()
	if _, err := l.Import(tb.Context(), batchOf(single(), name), f); err != nil {
		tb.Fatal(err)
	}
}

// anonymous returns the process's anonymous memory in MiB.
func anonymous(tb testing.TB) float64 { return status(tb, "RssAnon") }

// status returns a figure of the process in MiB.
func status(tb testing.TB, name string) float64 {
	tb.Helper()
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		tb.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), name+":")
	kib, err := strconv.Atoi(strings.Fields(rest)[0])
	if err != nil {
		tb.Fatal(err)
	}
	return float64(kib) / 1024
}

// highest returns the most anonymous memory, in MiB, that the process has while do
// runs. The kernel keeps a peak of all its memory only, files included.
func highest(tb testing.TB, do func()) (most float64) {
	ctx, cancel := context.WithCancel(tb.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for ctx.Err() == nil {
			most = max(most, anonymous(tb))
			select {
			case <-tick.C:
			case <-ctx.Done():
			}
		}
	})
	do()
	cancel()
	wg.Wait()
	return most
}
