package port

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// Lines are the modem lines that a computer drives; true is raised. Boards use
// them for reset and boot mode.
type Lines struct{ DTR, RTS bool }

// SetLines sets both lines in one step, so that the device never sees a mixed
// state. Its error matches [ErrNoLines] where there are none.
func (p *Port) SetLines(l Lines) error {
	return p.control("set lines of", l.set)
}

// SetDTR sets DTR and leaves RTS as it is.
func (p *Port) SetDTR(up bool) error {
	return p.control("set DTR of", func(fd int) error {
		return setBits(fd, unix.TIOCM_DTR, bit(up, unix.TIOCM_DTR))
	})
}

// SetRTS sets RTS and leaves DTR as it is.
func (p *Port) SetRTS(up bool) error {
	return p.control("set RTS of", func(fd int) error {
		return setBits(fd, unix.TIOCM_RTS, bit(up, unix.TIOCM_RTS))
	})
}

func (l Lines) set(fd int) error {
	return setBits(fd, unix.TIOCM_DTR|unix.TIOCM_RTS, bit(l.DTR, unix.TIOCM_DTR)|bit(l.RTS, unix.TIOCM_RTS))
}

// setBits changes the lines in mask with one TIOCMSET.
func setBits(fd, mask, bits int) error {
	old, err := unix.IoctlGetInt(fd, unix.TIOCMGET)
	if err == nil {
		err = unix.IoctlSetPointerInt(fd, unix.TIOCMSET, old&^mask|bits)
	}
	return noLines(err)
}

func bit(up bool, b int) int {
	if up {
		return b
	}
	return 0
}

// Break holds the line in the break state for d, or until the port is closed. A
// port that can't says so; a pseudo-terminal does nothing.
func (p *Port) Break(d time.Duration) error {
	if err := p.setBreak(true, unix.TIOCSBRK); err != nil {
		return err
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-p.done: // Close ends the break
	}
	return p.setBreak(false, unix.TIOCCBRK)
}

func (p *Port) setBreak(on bool, request uint) error {
	return p.control("break on", func(fd int) error {
		err := unix.IoctlSetInt(fd, request, 0)
		p.breaking = on && err == nil
		return err
	})
}

// noLines adds ErrNoLines to the two answers of drivers that have none.
func noLines(err error) error {
	if errors.Is(err, unix.ENOTTY) || errors.Is(err, unix.EINVAL) {
		return fmt.Errorf("%w: %w", ErrNoLines, err)
	}
	return err
}
