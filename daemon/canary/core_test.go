package canary_test

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"mintmark/fixtures/canary"
)

// core takes a core of the worker, which may die of it: the kernel's if it writes
// cores into the current folder, else one by gcore.
func (k *worker) core() string {
	k.t.Helper()
	pattern, err := os.ReadFile("/proc/sys/kernel/core_pattern")
	if err != nil {
		k.t.Fatal(err)
	}
	if k.cores && !strings.ContainsAny(string(pattern), "|/") {
		if _, err := k.in.Write([]byte("d")); err != nil {
			k.t.Fatal(err)
		}
		k.cmd.Wait()
	} else if out, err := exec.CommandContext(k.t.Context(), "gcore", "-o", filepath.Join(k.cmd.Dir, "core"), fmt.Sprint(k.cmd.Process.Pid)).CombinedOutput(); err != nil {
		k.t.Fatalf("gcore: %v\n%s", err, out)
	}
	cores, err := filepath.Glob(filepath.Join(k.cmd.Dir, "*"))
	if err != nil || len(cores) != 1 {
		k.t.Fatalf("the worker left %s, %v, want one core", cores, err)
	}
	return cores[0]
}

// inCore looks through a core. The mappings are those of the worker before. It
// fails if a page of a secret is in the core, or the control isn't.
func (k *worker) inCore(path string, mappings []canary.Mapping) (hits []canary.Hit) {
	k.t.Helper()
	f, err := elf.Open(path)
	if err != nil {
		k.t.Fatal(err)
	}
	defer f.Close()
	size := uint64(0)
	for _, p := range f.Progs {
		size += p.Filesz
		for _, m := range mappings {
			if m.Secret() && p.Filesz > 0 && p.Vaddr < m.To && m.From < p.Vaddr+p.Filesz {
				k.t.Errorf("the core holds %v", m)
			}
		}
	}
	all, err := k.net().File(path)
	if err != nil {
		k.t.Fatal(err)
	}
	for _, h := range all {
		if h.Secret != controlled {
			h.Where = place(f, uint64(h.Offset))
			hits = append(hits, h)
		}
	}
	if len(hits) == len(all) {
		k.t.Error("the core does not hold the control in the heap, so it says nothing")
	}
	k.t.Logf("looked through a core of %d MiB", size>>20)
	return hits
}

// neighbours shows what lies around a hit in a file, so that its owner can be
// found.
func (k *worker) neighbours(path string, offset int64) string {
	f, err := os.Open(path)
	if err != nil {
		return err.Error()
	}
	defer f.Close()
	b := make([]byte, 300)
	n, _ := f.ReadAt(b, max(0, offset-150))
	return fmt.Sprintf("%q", k.masked(b[:n]))
}

// masked stars out what is of a secret.
func (k *worker) masked(b []byte) []byte {
	const least = 4
	for _, v := range k.secrets() {
		for i := range len(v) - least + 1 {
			b = bytes.ReplaceAll(b, []byte(v[i:i+least]), []byte("****"))
		}
	}
	return b
}

// place says where in the process a place in its core was: an address, or the
// registers of a thread.
func place(f *elf.File, offset uint64) string {
	for _, p := range f.Progs {
		switch {
		case offset < p.Off || offset >= p.Off+p.Filesz:
		case p.Type == elf.PT_NOTE:
			return note(p, offset-p.Off)
		default:
			return fmt.Sprintf("memory at %#x", p.Vaddr+offset-p.Off)
		}
	}
	return "no part of the process"
}

// note names the note that holds a place: notes have sizes of name and data, a
// type, name and data, each rounded up to 4 bytes.
func note(p *elf.Prog, offset uint64) string {
	all := make([]byte, p.Filesz)
	if _, err := p.ReadAt(all, 0); err != nil {
		return err.Error()
	}
	threads := 0
	for at := uint64(0); at+12 <= uint64(len(all)); {
		name, data := binary.LittleEndian.Uint32(all[at:]), binary.LittleEndian.Uint32(all[at+4:])
		kind := elf.NType(binary.LittleEndian.Uint32(all[at+8:]))
		if kind == elf.NT_PRSTATUS {
			threads++
		}
		from := at + 12 + uint64(name+3)&^3
		at = from + uint64(data+3)&^3
		if offset < at {
			return fmt.Sprintf("note %#x of thread %d, byte %d of %d", uint32(kind), threads, offset-from, data)
		}
	}
	return "no note"
}
