package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// A stdin reads a file until a context is done, also while nothing comes. Close
// it, once or more often; the file stays open.
type stdin struct {
	ctx  context.Context
	in   *os.File
	wake *os.File // readable, at its end, once ctx is done
	stop func()
}

func newStdin(ctx context.Context, in *os.File) (*stdin, error) {
	wake, tell, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("watch stdin: %w", err)
	}
	told := make(chan struct{})
	pending := context.AfterFunc(ctx, func() {
		defer close(told)
		tell.Close()
	})
	return &stdin{ctx: ctx, in: in, wake: wake, stop: sync.OnceFunc(func() {
		if pending() {
			tell.Close()
		} else {
			<-told
		}
		wake.Close()
	})}, nil
}

// Read waits for input or the end of the context.
func (s *stdin) Read(p []byte) (int, error) {
	fds := []unix.PollFd{
		{Fd: int32(s.in.Fd()), Events: unix.POLLIN},
		{Fd: int32(s.wake.Fd()), Events: unix.POLLIN},
	}
	for {
		_, err := unix.Poll(fds, -1)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return 0, fmt.Errorf("wait for stdin: %w", err)
		}
		if s.ctx.Err() != nil {
			return 0, context.Cause(s.ctx)
		}
		return s.in.Read(p)
	}
}

func (s *stdin) Close() error {
	s.stop()
	return nil
}

// mute keeps a terminal from showing what is typed, until show is called.
func mute(tty *os.File) (show func() error, err error) {
	fd := int(tty.Fd())
	before, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return nil, fmt.Errorf("read settings of the terminal: %w", err)
	}
	quiet := *before
	quiet.Lflag &^= unix.ECHO
	quiet.Lflag |= unix.ICANON | unix.ISIG
	quiet.Iflag |= unix.ICRNL
	if err := unix.IoctlSetTermios(fd, unix.TCSETS, &quiet); err != nil {
		return nil, fmt.Errorf("silence the terminal: %w", err)
	}
	return func() error {
		if err := unix.IoctlSetTermios(fd, unix.TCSETS, before); err != nil {
			return fmt.Errorf("restore the terminal: %w", err)
		}
		return nil
	}, nil
}
