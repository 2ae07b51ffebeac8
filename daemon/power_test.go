package daemon

import (
	"strings"
	"testing"
)

func TestOfWhatAPowerCommandSaysTheEndIsKept(t *testing.T) {
	talk := `head -c 1000000 /dev/zero | tr '\0' x; echo; echo no relay there >&2; exit 3`
	err := power([]string{"/bin/sh", "-c", talk})(t.Context(), true)
	if err == nil || !strings.HasPrefix(err.Error(), "switch power on with /bin/sh: exit status 3: ") ||
		!strings.HasSuffix(err.Error(), "no relay there") || len(err.Error()) > 300 {
		t.Errorf("power = %.400v, want the status and the end of what it said", err)
	}
}

func TestATailStaysShort(t *testing.T) {
	var said tail
	for _, n := range []int{1, maxSaid - 1, 1, 3 * maxSaid, 7} {
		if got, err := said.Write([]byte(strings.Repeat("x", n-1) + "y")); got != n || err != nil {
			t.Fatalf("Write = %d, %v, want %d", got, err, n)
		}
		if len(said) > maxSaid || said[len(said)-1] != 'y' {
			t.Fatalf("tail has %d bytes, want at most %d and the last one", len(said), maxSaid)
		}
	}
}
