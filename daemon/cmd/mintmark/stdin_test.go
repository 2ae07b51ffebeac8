package main

import (
	"bufio"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"mintmark/fixtures/pty"
)

// soon bounds what must not wait for input.
const soon = 20 * time.Second

func TestStdinEndsWithItsContext(t *testing.T) {
	in, out, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	defer out.Close()
	ctx, cancel := context.WithCancel(t.Context())
	a := &app{in: in, out: os.Stdout, err: os.Stderr}
	file, _, err := a.open(ctx, "-")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close() // also after it was closed below
	if _, err := out.WriteString("serial"); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 100)
	if n, err := file.Read(b); string(b[:n]) != "serial" || err != nil {
		t.Fatalf("Read = %q, %v", b[:n], err)
	}
	ended := make(chan error, 1)
	go func() {
		_, err := file.Read(b)
		ended <- err
	}()
	cancel()
	select {
	case err := <-ended:
		if !errors.Is(err, context.Canceled) {
			t.Errorf("Read = %v, want that it was cancelled", err)
		}
	case <-time.After(soon):
		t.Fatal("Read still waits for input")
	}
	if err := file.Close(); err != nil {
		t.Errorf("Close = %v", err)
	}
}

func TestStdinMayBeClosedTwice(t *testing.T) {
	file, _, err := (&app{in: os.Stdin}).open(t.Context(), "-")
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(file.Close(), file.Close()); err != nil {
		t.Errorf("Close = %v", err)
	}
}

func TestAnInterruptedScanLeavesTheTerminalAsItWas(t *testing.T) {
	master, slave, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer master.Close()
	tty, err := pty.Keep(slave)
	if err != nil {
		t.Fatal(err)
	}
	defer tty.Close()
	setEcho(t, tty)
	cmd := exec.Command("mintmark", "device", "scan", "1")
	cmd.Stdin = tty
	talk, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	kill := time.AfterFunc(soon, func() { cmd.Process.Kill() })
	defer kill.Stop()
	lines := bufio.NewReader(talk)
	if line, err := lines.ReadString('\n'); line != "mintmark: scan now\n" {
		t.Errorf("first line is %q, %v", line, err)
	}
	if echoes(t, tty) {
		t.Error("the terminal shows what is scanned")
	}
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	rest, _ := io.ReadAll(lines)
	err = cmd.Wait()
	if cmd.ProcessState.ExitCode() != refused || !strings.Contains(string(rest), "mintmark: interrupted") {
		t.Errorf("scan ends with %v and %q, want that it was interrupted", err, rest)
	}
	if !echoes(t, tty) {
		t.Error("the terminal doesn't show any more what is typed")
	}
}

func setEcho(t *testing.T, tty *os.File) {
	t.Helper()
	s, err := unix.IoctlGetTermios(int(tty.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	s.Lflag |= unix.ECHO
	if err := unix.IoctlSetTermios(int(tty.Fd()), unix.TCSETS, s); err != nil {
		t.Fatal(err)
	}
}

func echoes(t *testing.T, tty *os.File) bool {
	t.Helper()
	s, err := unix.IoctlGetTermios(int(tty.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	return s.Lflag&unix.ECHO != 0
}

// stubborn is a program that doesn't end when it is told to.
func stubborn() {
	ctx, stop := untilSignal(context.Background())
	defer stop()
	os.Stdout.WriteString("up\n")
	<-ctx.Done()
	os.Stdout.WriteString("told\n")
	select {}
}

func TestTheSecondSignalKills(t *testing.T) {
	cmd := exec.Command("stubborn")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	kill := time.AfterFunc(soon, func() { cmd.Process.Kill() })
	defer kill.Stop()
	lines := bufio.NewReader(out)
	for _, want := range []string{"up\n", "told\n"} {
		if line, err := lines.ReadString('\n'); line != want {
			t.Fatalf("stubborn says %q, %v, want %q", line, err, want)
		}
		if want == "up\n" {
			cmd.Process.Signal(syscall.SIGTERM)
		}
	}
	// The first signal is let go right after it was told, so more than one may be
	// needed here.
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for {
		select {
		case <-ended:
			if s, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || s.Signal() != syscall.SIGTERM {
				t.Errorf("stubborn ends with %v, want SIGTERM", cmd.ProcessState)
			}
			return
		case <-again.C:
			cmd.Process.Signal(syscall.SIGTERM)
		}
	}
}
