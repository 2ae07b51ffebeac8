package main

import (
	"bytes"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/rogpeppe/go-internal/testscript"
)

const nobody = 65534

// powerless runs mintmark as somebody who owns a station but may not write its
// ledger, and wants it to fail with a text: powerless STATION TEXT ARG...
func powerless(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 3 {
		ts.Fatalf("usage: powerless STATION TEXT ARG...")
	}
	dir := ts.MkAbs(args[0])
	program := filepath.Join(filepath.Dir(dir), "mintmark")
	self, err := os.Executable()
	ts.Check(err)
	data, err := os.ReadFile(self)
	ts.Check(err)
	ts.Check(os.WriteFile(program, data, 0o755))
	cmd := exec.Command(program, args[2:]...)
	cmd.Dir = filepath.Dir(dir)
	if os.Geteuid() == 0 { // who may write anything
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
		give(ts, dir)
	}
	ts.Check(os.Chmod(filepath.Join(dir, "ledger"), 0o500))
	ts.Check(os.Chmod(filepath.Join(dir, "ledger", "lock"), 0o400))
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	err = cmd.Run()
	ts.Logf("%s", stderr.String())
	if err == nil || cmd.ProcessState.ExitCode() != refused || !strings.Contains(stderr.String(), args[1]) {
		ts.Fatalf("mintmark ends with %v, want exit status 1 and %q", err, args[1])
	}
}

// give makes nobody the owner of a station and lets him get there.
func give(ts *testscript.TestScript, dir string) {
	ts.Check(filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Chown(path, nobody, nobody)
	}))
	for up := filepath.Dir(dir); up != os.TempDir() && up != "/"; up = filepath.Dir(up) {
		ts.Check(os.Chmod(up, 0o755))
	}
}
