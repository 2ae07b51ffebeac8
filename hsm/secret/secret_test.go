package secret_test

import (
	"bytes"
	"testing"

	"mintmark/hsm/secret"
)

func TestFromMovesTheBytes(t *testing.T) {
	b := []byte("correct horse")
	v := secret.From(b)
	defer v.Close()
	if got := v.Bytes(); !bytes.Equal(got, []byte("correct horse")) {
		t.Errorf("Bytes() = %q, want the bytes given", got)
	}
	if !bytes.Equal(b, make([]byte, len(b))) {
		t.Errorf("From left %q in its argument, want zeros", b)
	}
}
