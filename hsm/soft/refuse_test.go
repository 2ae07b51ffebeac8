package soft_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"mintmark/hsm/soft"
)

// must ends the test when an effect that it needs fails.
func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestOpenRefusesWhatSomebodyElseCouldHaveTouched(t *testing.T) {
	for name, tt := range map[string]struct {
		spoil func(t *testing.T, dir, key string)
		want  string // $KEY and $DIR stand for the paths
	}{
		"no folder": {
			func(t *testing.T, dir, key string) { must(t, os.RemoveAll(dir)) },
			"$KEY: its folder is missing; make the authority with mintmark init, or name the right folder (file does not exist)",
		},
		"a file for a folder": {
			func(t *testing.T, dir, key string) {
				must(t, os.RemoveAll(dir))
				must(t, os.WriteFile(dir, nil, 0o600))
			},
			"$KEY: $DIR is not a folder, want the folder of an authority",
		},
		"a folder that others can write": {
			func(t *testing.T, dir, key string) { must(t, os.Chmod(dir, 0o770)) },
			"$KEY: its folder has mode 0770, so others can replace the key, want 0700; chmod 0700 $DIR",
		},
		"no key": {
			func(t *testing.T, dir, key string) { must(t, os.Remove(key)) },
			"$KEY: is missing; restore it from its backup: a new key does not fit an old ledger (file does not exist)",
		},
		"a key that the group can read": {
			func(t *testing.T, dir, key string) { must(t, os.Chmod(key, 0o640)) },
			"$KEY: has mode 0640, so others may have read the key, want 0600; if nobody has, chmod 0600 $KEY, else begin anew with another authority and ledger",
		},
		"a key that the world can read": {
			func(t *testing.T, dir, key string) { must(t, os.Chmod(key, 0o604)) },
			"$KEY: has mode 0604, so others may have read the key, want 0600; if nobody has, chmod 0600 $KEY, else begin anew with another authority and ledger",
		},
		"a link to the key": {
			func(t *testing.T, dir, key string) {
				must(t, os.Rename(key, key+".real"))
				must(t, os.Symlink(key+".real", key))
			},
			"$KEY: is a symbolic link, want the file itself; move the file here",
		},
		"a folder for a key": {
			func(t *testing.T, dir, key string) {
				must(t, os.Remove(key))
				must(t, os.Mkdir(key, 0o700))
			},
			"$KEY: is a folder, want a regular file",
		},
		"a pipe for a key": {
			func(t *testing.T, dir, key string) {
				must(t, os.Remove(key))
				must(t, unix.Mkfifo(key, 0o600))
			},
			"$KEY: is a pipe, want a regular file",
		},
		"an empty key": {
			func(t *testing.T, dir, key string) { must(t, os.Truncate(key, 0)) },
			"$KEY: has 0 bytes, want 16 and 52 for each key; restore the file from its backup",
		},
		"a key cut short": {
			func(t *testing.T, dir, key string) { must(t, os.Truncate(key, 67)) },
			"$KEY: has 67 bytes, want 16 and 52 for each key; restore the file from its backup",
		},
		"a key with something behind it": {
			func(t *testing.T, dir, key string) { must(t, os.Truncate(key, 69)) },
			"$KEY: has 69 bytes, want 16 and 52 for each key; restore the file from its backup",
		},
		"a key file without a key": {
			func(t *testing.T, dir, key string) { must(t, os.Truncate(key, 16)) },
			"$KEY: has 16 bytes, want 16 and 52 for each key; restore the file from its backup",
		},
		"a key of zeros": {
			func(t *testing.T, dir, key string) { must(t, os.WriteFile(key, make([]byte, 68), 0o600)) },
			"$KEY: does not start with MINTKEY1, want a key file of this version; restore the file from its backup",
		},
	} {
		for _, file := range []string{"index.key", "wrap.key"} {
			t.Run(name+"/"+file, func(t *testing.T) {
				dir := create(t)
				key := filepath.Join(dir, file)
				tt.spoil(t, dir, key)
				a, err := soft.Open(dir)
				if a != nil || !errors.Is(err, soft.ErrKeyFile) {
					t.Fatalf("Open = %v, %v, want ErrKeyFile", a, err)
				}
				if strings.Contains(name, "folder") && !strings.HasSuffix(name, "key") {
					key = filepath.Join(dir, "index.key") // the first that is looked for
				}
				want := "open authority: key file refused: " + strings.NewReplacer("$KEY", key, "$DIR", dir).Replace(tt.want)
				if err.Error() != want {
					t.Errorf("got  %s\nwant %s", err, want)
				}
				if missing := strings.Contains(want, "missing"); errors.Is(err, fs.ErrNotExist) != missing {
					t.Errorf("errors.Is(err, fs.ErrNotExist) is %v, want %v", !missing, missing)
				}
			})
		}
	}
}

func TestOpenRefusesTheKeysOfAnotherUser(t *testing.T) {
	dir := create(t)
	key := filepath.Join(dir, "index.key")
	info, err := os.Stat(key)
	must(t, err)
	if err := soft.CheckOwner(info, "its folder ", key, os.Geteuid()); err != nil {
		t.Errorf("our own file: %v", err)
	}
	err = soft.CheckOwner(info, "its folder ", key, 77)
	if want := "its folder belongs to user 0, want user 77, who runs this; chown 77 " + key + ", or run it as user 0"; err == nil ||
		os.Geteuid() == 0 && err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
	if os.Geteuid() != 0 {
		return // only root can give a file away
	}
	must(t, os.Chown(key, 1, -1))
	if _, err := soft.Open(dir); err == nil || !strings.Contains(err.Error(), "index.key: belongs to user 1, want user 0") {
		t.Errorf("with a key of user 1: got %v", err)
	}
	must(t, os.Chown(key, 0, -1))
	must(t, os.Chown(dir, 1, -1))
	if _, err := soft.Open(dir); err == nil || !strings.Contains(err.Error(), "its folder belongs to user 1, want user 0") {
		t.Errorf("in a folder of user 1: got %v", err)
	}
}

func TestOpenSeesEveryFlippedBit(t *testing.T) {
	dir := create(t)
	for _, file := range []string{"index.key", "wrap.key"} {
		path := filepath.Join(dir, file)
		good := readFile(t, dir, file)
		for i := range good {
			for _, bit := range []byte{1, 0x80} {
				bad := bytes.Clone(good)
				bad[i] ^= bit
				must(t, os.WriteFile(path, bad, 0o600))
				if a, err := soft.Open(dir); !errors.Is(err, soft.ErrKeyFile) {
					t.Errorf("%s with byte %d flipped: got %v, %v, want ErrKeyFile", file, i, a, err)
				}
			}
		}
		must(t, os.WriteFile(path, good, 0o600))
	}
	open(t, dir)
}

func TestOpenRefusesAKeyForAnotherPurpose(t *testing.T) {
	dir := create(t)
	must(t, os.Rename(filepath.Join(dir, "wrap.key"), filepath.Join(dir, "index.key")))
	_, err := soft.Open(dir)
	if err == nil || !strings.HasSuffix(err.Error(), `is a key file for another purpose, want "indx"; restore the file from its backup`) {
		t.Errorf("with wrap.key in the place of index.key: got %v", err)
	}
}

func TestOpenRefusesVersionsOutOfOrder(t *testing.T) {
	dir := create(t)
	_, err := soft.Rotate(dir)
	must(t, err)
	path := filepath.Join(dir, "index.key")
	b := readFile(t, dir, "index.key")
	swapped := append(bytes.Clone(b[:16]), append(bytes.Clone(b[68:]), b[16:68]...)...)
	must(t, os.WriteFile(path, swapped, 0o600))
	_, err = soft.Open(dir)
	if err == nil || !strings.Contains(err.Error(), "key 2 has version 1, want ascending versions from 1") {
		t.Errorf("with two keys swapped: got %v", err)
	}
	twice := append(bytes.Clone(b[:68]), b[16:68]...)
	must(t, os.WriteFile(path, twice, 0o600))
	if _, err := soft.Open(dir); !errors.Is(err, soft.ErrKeyFile) {
		t.Errorf("with one key twice: got %v", err)
	}
}

func TestRefusalsHoldNoKey(t *testing.T) {
	dir := create(t)
	b := readFile(t, dir, "index.key")
	b[28] ^= 1
	must(t, os.WriteFile(filepath.Join(dir, "index.key"), b, 0o600))
	_, err := soft.Open(dir)
	if err == nil || bytes.Contains([]byte(err.Error()), b[30:38]) {
		t.Errorf("the error is %q", err)
	}
}
