package soft

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// openPrivate opens a regular file that only its owner, we, can use, in a folder
// where only we can put files.
func openPrivate(path string) (*os.File, error) {
	if err := checkFolder(filepath.Dir(path)); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("is missing; restore it from its backup: a new key does not fit an old ledger (%w)", fs.ErrNotExist)
	case errors.Is(err, unix.ELOOP):
		return nil, errors.New("is a symbolic link, want the file itself; move the file here")
	case err != nil:
		return nil, err
	}
	if err := checkPrivate(f); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func checkFolder(dir string) error {
	info, err := os.Stat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("its folder is missing; make the authority with mintmark init, or name the right folder (%w)", fs.ErrNotExist)
	}
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return fmt.Errorf("%s is not a folder, want the folder of an authority", dir)
	}
	if perm := info.Mode().Perm(); perm&0o022 != 0 {
		return fmt.Errorf("its folder has mode %04o, so others can replace the key, want 0700; chmod 0700 %s", perm, dir)
	}
	return checkOwner(info, "its folder ", dir, os.Geteuid())
}

func checkPrivate(f *os.File) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("is a %s, want a regular file", kindOf(info.Mode()))
	}
	if perm := info.Mode().Perm(); perm&0o077 != 0 {
		return fmt.Errorf("has mode %04o, so others may have read the key, want 0600; "+
			"if nobody has, chmod 0600 %s, else begin anew with another authority and ledger", perm, f.Name())
	}
	return checkOwner(info, "", f.Name(), os.Geteuid())
}

func kindOf(m fs.FileMode) string {
	switch {
	case m.IsDir():
		return "folder"
	case m&fs.ModeNamedPipe != 0:
		return "pipe"
	}
	return "special file"
}

// checkOwner is told what is at path, for its message, and who we are.
func checkOwner(info fs.FileInfo, what, path string, me int) error {
	owner := info.Sys().(*syscall.Stat_t).Uid
	if int(owner) == me {
		return nil
	}
	return fmt.Errorf("%sbelongs to user %d, want user %d, who runs this; chown %d %s, or run it as user %d",
		what, owner, me, me, path, owner)
}
