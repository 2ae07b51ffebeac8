package secret_test

import (
	"bufio"
	"fmt"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"mintmark/hsm/secret"
)

// A mapping is one entry of /proc/self/smaps.
type mapping struct {
	from, to uint64
	perm     string
	fields   map[string]string // such as Locked and VmFlags
}

// mappingOf returns the mapping that holds addr.
func mappingOf(t *testing.T, addr uint64) mapping {
	t.Helper()
	f, err := os.Open("/proc/self/smaps")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var m mapping
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		var next mapping
		if n, _ := fmt.Sscanf(lines.Text(), "%x-%x %s", &next.from, &next.to, &next.perm); n == 3 {
			if m.from <= addr && addr < m.to {
				return m
			}
			m = next
			m.fields = map[string]string{}
		} else if name, value, ok := strings.Cut(lines.Text(), ":"); ok {
			m.fields[name] = strings.TrimSpace(value)
		}
	}
	t.Fatalf("no mapping holds %x", addr)
	return m
}

func address(v *secret.Value) uint64 {
	return uint64(uintptr(unsafe.Pointer(unsafe.SliceData(v.Bytes()))))
}

func TestPagesAreLockedAndKeptOutOfDumpsAndChildren(t *testing.T) {
	for _, n := range []int{15, 100_000} {
		v := secret.New(n)
		m := mappingOf(t, address(v))
		flags := strings.Fields(m.fields["VmFlags"])
		for flag, meaning := range map[string]string{"lo": "locked", "dd": "left out of dumps", "wf": "wiped on fork"} {
			if !slices.Contains(flags, flag) {
				t.Errorf("pages of %d bytes have the flags %s, want %s: %s", n, flags, flag, meaning)
			}
		}
		if m.perm != "rw-p" || m.fields["Locked"] == "0 kB" {
			t.Errorf("pages of %d bytes are %s with %s locked, want rw-p and all", n, m.perm, m.fields["Locked"])
		}
		v.Close()
	}
}

func TestPagesAroundASlabCantBeTouched(t *testing.T) {
	for _, n := range []int{15, 100_000} {
		v := secret.New(n)
		m := mappingOf(t, address(v))
		for side, addr := range map[string]uint64{"before": m.from - 1, "after": m.to} {
			if got := mappingOf(t, addr).perm; got != "---p" {
				t.Errorf("the page %s %d bytes is %s, want ---p", side, n, got)
			}
			for what, touch := range map[string]func(*byte){
				"reading": func(b *byte) { sink += *b }, "writing": func(b *byte) { *b = 1 },
			} {
				if !faults(addr, touch) {
					t.Errorf("%s %s the slab of %d bytes did not fault", what, side, n)
				}
			}
		}
		v.Close()
	}
}

var sink byte // keeps the compiler from leaving a read out

func faults(addr uint64, touch func(*byte)) (did bool) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() { did = recover() != nil }()
	touch(*(**byte)(unsafe.Pointer(&addr)))
	return false
}

func TestALargeValueGivesItsPagesBack(t *testing.T) {
	v := secret.New(1 << 20)
	addr := address(v)
	v.Close()
	if !faults(addr, func(b *byte) { sink += *b }) {
		t.Error("the pages of a closed large value can still be read")
	}
}

func TestWipeOverwrites(t *testing.T) {
	b := []byte("something")
	secret.Wipe(b)
	if string(b) != strings.Repeat("\x00", len(b)) {
		t.Errorf("Wipe left %q", b)
	}
}

func TestDoRunsItsFunctionOnce(t *testing.T) {
	n := 0
	secret.Do(func() { n++ })
	if n != 1 {
		t.Errorf("Do ran its function %d times, want once", n)
	}
}
